/**
 * The FileSystem of @effect/platform, loaded when it is first used: it brings Schema, which takes over 100 ms. A program
 * that provides a FileSystem has loaded it already.
 */
import type { PlatformError } from "@effect/platform/Error"
import type { FileSystem } from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"

export const fileSystem: Effect.Effect<FileSystem, never, FileSystem> = Effect.flatMap(
  Effect.promise(() => import("@effect/platform/FileSystem")),
  (module) => module.FileSystem
)

/** Fails if a file cannot be read, or is a directory. */
export const checkReadable = (path: string): Effect.Effect<void, PlatformError, FileSystem> =>
  Effect.gen(function* () {
    const files = yield* fileSystem
    yield* files.access(path, { readable: true })
    const { type } = yield* files.stat(path)
    if (type !== "Directory") return
    const { SystemError } = yield* Effect.promise(() => import("@effect/platform/Error"))
    yield* new SystemError({
      reason: "BadResource",
      module: "FileSystem",
      method: "stream",
      pathOrDescriptor: path,
      description: "it is a directory"
    })
  })
