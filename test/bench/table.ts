/**
 * Tables, for a terminal and for Markdown.
 */

/**
 * Headings and rows. The first column names the row; a row of two cells has no figures, and says why in its second,
 * which may be longer than its column.
 */
export type Table = ReadonlyArray<ReadonlyArray<string>>

const isComplete = (table: Table, row: ReadonlyArray<string>): boolean => row.length === table[0]?.length

/** In columns: the first to the left, the others to the right. */
export const showTable = (table: Table): string => {
  const widthOf = (column: number): number =>
    Math.max(
      ...table.filter((row) => column === 0 || isComplete(table, row)).map((row) => row[column]?.length ?? 0)
    )
  const showCell = (row: ReadonlyArray<string>, cell: string, column: number): string => {
    if (column === 0) return cell.padEnd(widthOf(0))
    return isComplete(table, row) ? cell.padStart(widthOf(column)) : cell
  }
  return table
    .map((row) =>
      row
        .map((cell, column) => showCell(row, cell, column))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** As Markdown; whoever writes it into a file formats that. */
export const toMarkdown = (table: Table): string => {
  const [head = [], ...rows] = table
  const show = (cells: ReadonlyArray<string>): string =>
    `| ${head.map((_, column) => (cells[column] ?? "").replaceAll("|", "\\|")).join(" | ")} |`
  const rule = head.map((_, column) => (column === 0 ? "---" : "---:"))
  return [head, rule, ...rows].map(show).join("\n")
}
