/**
 * A tracer that keeps its spans, to be printed as trees. A real program has a layer of @effect/opentelemetry instead,
 * and learns the same.
 */
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { randomBytes } from "node:crypto"

export interface Spans {
  readonly tracer: Tracer.Tracer
  /** Those that are within no other, in the order of their beginning. */
  readonly roots: () => ReadonlyArray<Tracer.Span>
  readonly within: (span: Tracer.Span) => ReadonlyArray<Tracer.Span>
}

const hex = (octets: number): string => randomBytes(octets).toString("hex")

export const make = (): Spans => {
  const spans: Array<Tracer.Span> = []
  const tracer = Tracer.make({
    span: (name, parent, context, links, startTime, kind) => {
      let status: Tracer.SpanStatus = { _tag: "Started", startTime }
      const attributes = new Map<string, unknown>()
      const span: Tracer.Span = {
        _tag: "Span",
        name,
        spanId: hex(8),
        traceId: Option.match(parent, { onNone: () => hex(16), onSome: ({ traceId }) => traceId }),
        parent,
        context,
        get status() {
          return status
        },
        attributes,
        links,
        sampled: true,
        kind,
        attribute: (key, value) => attributes.set(key, value),
        event: () => undefined,
        addLinks: () => undefined,
        end: (endTime, exit) => {
          status = { _tag: "Ended", startTime, endTime, exit }
        }
      }
      spans.push(span)
      return span
    },
    context: (use) => use()
  })
  const isWithin = (outer: Tracer.Span) => (span: Tracer.Span) =>
    Option.exists(span.parent, ({ spanId }) => spanId === outer.spanId)
  return {
    tracer,
    roots: () => spans.filter(({ parent }) => Option.isNone(parent)),
    within: (span) => spans.filter(isWithin(span))
  }
}

/** How long the span took, if it has ended. */
export const millisOf = ({ status }: Tracer.Span): number | undefined =>
  status._tag === "Ended" ? Number(status.endTime - status.startTime) / 1e6 : undefined
