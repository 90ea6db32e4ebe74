/** Where a composed message goes instead of a server: into a directory, or nowhere. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { mkdir, rename, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { Content } from "../../SmtpContent.js"
import type { ContentError } from "../../SmtpError.js"
import { InvalidArgument } from "../../SmtpError.js"
import { claimed, sourceOf } from "../content/source.js"
import { isOctets } from "../content/model.js"
import { describeCause } from "../effect/cause.js"
import { skipped } from "./compose.js"
import type { Details, Skipped } from "./model.js"
import type { Settings } from "./settings.js"

/** The whole content. Memory has to hold it: no server asks for it piece by piece. */
const bytesOf = <E, R>(
  content: Content<E, R>
): Effect.Effect<Uint8Array, InvalidArgument | ContentError | E, R> =>
  Effect.flatMap(sourceOf(content), (source): Effect.Effect<Uint8Array, ContentError | E, R> =>
    isOctets(source)
      ? Effect.succeed(source)
      : Effect.map(Stream.runCollect(claimed(source)), (pieces) => Buffer.concat([...pieces]))
  )

// The ID holds characters that no file name can.
const fileNameOf = (header: Details["header"]): string => {
  const id = header?.messageId.replace(/[^A-Za-z0-9._@-]/g, "") ?? globalThis.crypto.randomUUID()
  const time = (header?.date ?? new Date()).toISOString().replace(/[:.]/g, "-")
  return `${time}-${id.slice(0, 150)}.eml`
}

const write = (directory: string, name: string, bytes: Uint8Array): Effect.Effect<string, InvalidArgument> =>
  Effect.tryPromise({
    try: async () => {
      const path = join(directory, name)
      await mkdir(directory, { recursive: true })
      // A reader sees a whole message or none.
      await writeFile(`${path}.part`, bytes)
      await rename(`${path}.part`, path)
      return path
    },
    catch: (error) =>
      new InvalidArgument({ field: "toDirectory", reason: `cannot be written to: ${describeCause(error)}` })
  })

export const give = <E, R>(
  sink: NonNullable<Settings["sink"]>,
  content: Content<E, R>,
  details: Details
): Effect.Effect<Skipped, InvalidArgument | ContentError | E, R> =>
  Effect.flatMap(bytesOf(content), (bytes): Effect.Effect<Skipped, InvalidArgument> =>
    sink._tag === "DryRun"
      ? Effect.succeed({ ...skipped("DryRun", details), content: bytes })
      : Effect.map(write(sink.path, fileNameOf(details.header), bytes), (path) => ({
          ...skipped("Directory", details),
          path
        }))
  )
