/** Config that is checked in a second step. Effect 4 renames its errors and Either: both are used here alone. */
import * as Config from "effect/Config"
import * as Errors from "effect/ConfigError"
import * as Either from "effect/Either"
import * as Option from "effect/Option"

export type ConfigError = Errors.ConfigError

/** A value, or the first key at fault. */
export type Checked<A> = Either.Either<A, ConfigError>

export const valid: <A>(value: A) => Checked<A> = Either.right

export const missing = (key: string, message: string): Checked<never> =>
  Either.left(Errors.MissingData([key], message))

export const invalidData = (key: string, message: string): ConfigError => Errors.InvalidData([key], message)

export const failed: (error: ConfigError) => Checked<never> = Either.left

/** Checks in a row, as in `Effect.gen`: the first problem ends them. */
export const checks = Either.gen

/** The configuration that `check` makes of another one's value. */
export const checked: <A, B>(config: Config.Config<A>, check: (value: A) => Checked<B>) => Config.Config<B> =
  Config.mapOrFail

/** The value, or `undefined` if its key is missing. */
export const optional = <A>(config: Config.Config<A>): Config.Config<A | undefined> =>
  Config.map(Config.option(config), Option.getOrUndefined)
