/**
 * Lines of CSV (RFC 4180) without line breaks in fields, which lists of addresses do not have.
 */

/** The fields of a line; quotes around them are taken off. */
export const fields = (line: string): ReadonlyArray<string> =>
  [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(([, quoted, plain]) =>
    quoted === undefined ? (plain ?? "").trim() : quoted.replaceAll('""', '"')
  )
