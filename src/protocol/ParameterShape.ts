/**
 * Whether parameters have the shape that their types promise, which plain JavaScript and configuration know nothing of.
 * What is said here is only what nobody could go on from; what the values mean is checked where they are rendered.
 */
import type { Invalid } from "./Invalid.js"
import { invalid } from "./Invalid.js"
import type { MailParameters, RecipientParameters } from "./Parameters.js"

interface Shape {
  readonly fits: (value: unknown) => boolean
  /** The end of a sentence that begins with the field. */
  readonly reason: string
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

const isString = (value: unknown): boolean => typeof value === "string"

const isStringIfGiven = (value: unknown): boolean => value === undefined || isString(value)

// Of whatever realm.
const isDate = (value: unknown): boolean => Object.prototype.toString.call(value) === "[object Date]"

const isExtra = (value: unknown): boolean =>
  isObject(value) &&
  isString(value["keyword"]) &&
  isStringIfGiven(value["value"]) &&
  isStringIfGiven(value["extension"])

const text: Shape = { fits: isString, reason: "is no string" }

const extra: Shape = {
  // By its iterator, which leaves out no hole.
  fits: (value) => Array.isArray(value) && Array.from<unknown>(value).every(isExtra),
  reason: "is no list of objects with a keyword, and with a value and an extension that are strings"
}

const mailShapes: Readonly<Partial<Record<keyof MailParameters, Shape>>> = {
  size: { fits: (value) => typeof value === "number", reason: "is no number" },
  body: text,
  envelopeId: text,
  auth: { fits: (value) => value === null || isString(value), reason: "is neither a string nor null" },
  deliverBy: { fits: isObject, reason: "is no object" },
  holdUntil: { fits: isDate, reason: "is no Date" },
  extra
}

const recipientShapes: Readonly<Partial<Record<keyof RecipientParameters, Shape>>> = {
  notify: {
    // By its iterator, which leaves out no hole.
    fits: (value) => isString(value) || (Array.isArray(value) && Array.from<unknown>(value).every(isString)),
    reason: "is neither a string nor a list of strings"
  },
  originalRecipient: {
    fits: (value) =>
      isString(value) || (isObject(value) && isString(value["type"]) && isString(value["address"])),
    reason: "is neither a string nor an object with a type and an address"
  },
  rrvs: {
    fits: (value) => isObject(value) && isDate(value["since"]) && isStringIfGiven(value["action"]),
    reason: "is no object with a Date"
  },
  extra
}

const misfit = (
  parameters: unknown,
  shapes: Readonly<Partial<Record<string, Shape>>>,
  field: string
): Invalid | undefined => {
  if (!isObject(parameters)) return invalid(field, "is no object")
  for (const [name, shape] of Object.entries(shapes)) {
    const value = parameters[name]
    if (value !== undefined && shape?.fits(value) === false) return invalid(`${field}.${name}`, shape.reason)
  }
  return undefined
}

/** What is out of shape in parameters of MAIL, if anything is. */
export const misfitOfMail = (parameters: unknown, field: string): Invalid | undefined =>
  misfit(parameters, mailShapes, field)

/** What is out of shape in parameters of RCPT, if anything is. */
export const misfitOfRecipient = (parameters: unknown, field: string): Invalid | undefined =>
  misfit(parameters, recipientShapes, field)
