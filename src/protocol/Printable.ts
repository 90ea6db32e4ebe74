/**
 * Text of a peer as it may stand in an error message or a log. What would act instead of being seen is shown as an escape:
 * control characters (C0, DEL, C1), separators of lines and paragraphs, and marks of the direction of writing.
 */
export const printable = (text: string): string => text.replaceAll(acting, escape)

const acting = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu

const escape = (character: string): string => {
  const code = character.charCodeAt(0)
  return code < 0x100
    ? `\\x${code.toString(16).padStart(2, "0")}`
    : `\\u${code.toString(16).padStart(4, "0")}`
}
