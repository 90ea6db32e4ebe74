/**
 * A tracer for tests: what a program tells of its spans.
 */
import { expect } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"

export interface Seen {
  readonly name: string
  readonly parent: string | undefined
  readonly attributes: Map<string, unknown>
  ended: "no" | "well" | "badly"
}

/** A tracer that keeps what it is told. */
export const collector = () => {
  const spans: Array<Seen> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      const attributes = new Map<string, unknown>()
      const seen: Seen = {
        name,
        parent: Option.getOrUndefined(Option.map(parent, ({ spanId }) => spans[Number(spanId)]?.name)),
        attributes,
        ended: "no"
      }
      const spanId = String(spans.push(seen) - 1)
      return {
        _tag: "Span",
        name,
        spanId,
        traceId: "trace",
        parent,
        context,
        status: { _tag: "Started", startTime },
        attributes,
        links,
        sampled: true,
        kind,
        attribute: (key, value) => attributes.set(key, value),
        event: () => undefined,
        addLinks: () => undefined,
        end: (_endTime, exit) => {
          expect(seen.ended).toBe("no")
          seen.ended = exit._tag === "Success" ? "well" : "badly"
        }
      }
    },
    context: (use) => use()
  })
  return { spans, tracer }
}

/** Each span, with the one that it is in, the code of the reply, and how it ended. */
export const told = ({ spans }: ReturnType<typeof collector>): ReadonlyArray<string> =>
  spans.map(({ attributes, ended, name, parent }) => {
    const code = attributes.get("smtp.reply.code")
    const inside = parent === undefined ? "" : ` in ${parent}`
    return `${name}${inside}${typeof code === "number" ? ` ${code}` : ""} ${ended}`
  })
