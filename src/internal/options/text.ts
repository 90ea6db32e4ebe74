/**
 * Options as they are written, in the environment or in a URL: a name and a text each. Names are those of the options,
 * with a dot before a part of one.
 */
import type { Invalid } from "../../protocol/Invalid.js"
import { isInvalid } from "../../protocol/Invalid.js"
import type { Options, Relay } from "../../SmtpClient.js"
import { clientRows, readClientOptions, relayRows } from "./client.js"
import type { WrittenCredentials } from "./credentials.js"
import { credentialRows, readCredentials } from "./credentials.js"
import type { Leaf, Rows } from "./fields.js"
import { isGiven } from "./fields.js"
import { sessionRows } from "./session.js"

type Draft<O> = { -readonly [K in keyof O]?: O[K] }

/** An option, or a part of one, that can be written. */
interface Field<O> {
  readonly name: string
  /** Nobody may see the text. */
  readonly isSecret: boolean
  readonly read: (text: string, into: Draft<O>) => Invalid | undefined
}

const fieldOf = <O extends object, K extends keyof O & string>(
  key: K,
  { isSecret, path, read }: Leaf<Exclude<O[K], undefined>>
): Field<O> => {
  const name = path === "" ? key : `${key}.${path}`
  return {
    name,
    isSecret,
    read: (text, into) => {
      const current: O[K] | undefined = into[key]
      const value = read(text, name, isGiven(current) ? current : undefined)
      if (isInvalid(value)) return value
      into[key] = value
      return undefined
    }
  }
}

const fieldsOf = <O extends object>(rows: Rows<O>): ReadonlyArray<Field<O>> => {
  const all: Array<Field<O>> = []
  for (const key in rows) for (const leaf of rows[key].leaves) all.push(fieldOf(key, leaf))
  return all
}

const ofOptions = fieldsOf<Options & Relay>({ ...relayRows, ...sessionRows, ...clientRows })
const ofCredentials = fieldsOf<WrittenCredentials>(credentialRows)

/** Every option that can be written. */
export const fields: ReadonlyArray<{ readonly name: string; readonly isSecret: boolean }> = [
  ...ofOptions,
  ...ofCredentials
]

/** The fields of options that concern the client, by name. */
export const clientFields: ReadonlySet<string> = new Set(fieldsOf(clientRows).map(({ name }) => name))

/** The name that an option is written under: it may be part of one that is written as a whole. */
export const nameOf = (option: string): string => {
  // What anonymous credentials call a trace is written as the user.
  if (option === "trace") return "username"
  const found =
    fields.find(({ name }) => name === option) ?? fields.find(({ name }) => option.startsWith(`${name}.`))
  return found?.name ?? option
}

const readInto = <O>(
  fields: ReadonlyArray<Field<O>>,
  texts: ReadonlyMap<string, string>,
  into: Draft<O>
): Invalid | undefined => {
  for (const { name, read } of fields) {
    const text = texts.get(name)
    const problem = text === undefined ? undefined : read(text, into)
    if (problem !== undefined) return problem
  }
  return undefined
}

/**
 * Reads what is written; gives the options, whether or not they make sense together. A message never holds a text.
 */
export const read = (texts: ReadonlyMap<string, string>): Options | Invalid => {
  const options: Draft<Options & Relay> = {}
  const credentials: Draft<WrittenCredentials> = {}
  const problem = readInto(ofOptions, texts, options) ?? readInto(ofCredentials, texts, credentials)
  if (problem !== undefined) return problem
  const auth = readCredentials(credentials)
  return isInvalid(auth) ? auth : { ...options, ...(auth === undefined ? {} : { auth }) }
}

/** The options, if they make sense together; else a problem that names the option. */
export const checkOptions = (options: Options | Invalid): Options | Invalid => {
  const settings = isInvalid(options) ? options : readClientOptions(options)
  return isInvalid(settings) ? settings : options
}
