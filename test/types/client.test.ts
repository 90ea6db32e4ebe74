/**
 * What the compiler knows of a client. The assertions are those of `tsc`; running them shows that nothing throws.
 */
import { describe, expectTypeOf, it } from "@effect/vitest"
import type { ConfigError } from "effect/ConfigError"
import type * as Effect from "effect/Effect"
import type { Layer } from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { CapabilityCache } from "../../src/CapabilityCache.js"
import * as SmtpClient from "../../src/SmtpClient.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import type { ClientUnavailable, InvalidArgument } from "../../src/SmtpError.js"
import type { Keyed } from "../../src/SmtpReceipt.js"
import type { SmtpSocket } from "../../src/SmtpSocket.js"
import type { TlsUpgrade } from "../../src/TlsUpgrade.js"

interface Broken {
  readonly _tag: "Broken"
}

interface Store {
  readonly _: unique symbol
}

type ErrorOf<A extends Effect.Effect<unknown, unknown, unknown>> = Effect.Effect.Error<A>
type NeedsOf<A extends Effect.Effect<unknown, unknown, unknown>> = Effect.Effect.Context<A>

/** Never called: only the types of its results matter. */
const calls = (client: SmtpClient.Service, stream: Stream.Stream<Uint8Array, Broken, Store>) => {
  const envelope = { from: "a@x.test", to: "b@y.test" }
  const streamed = SmtpContent.replayable(stream)
  return {
    sendText: client.send({ ...envelope, content: "text" }),
    sendStream: client.send({ ...envelope, content: streamed }),
    deliverText: client.deliver({ ...envelope, content: "text" }, { retry: "off" }),
    deliverStream: client.deliver({ ...envelope, content: stream }),
    sendAllText: client.sendAll(Stream.make({ key: 1, submission: { ...envelope, content: "text" } })),
    sendAllStream: client.sendAll(Stream.make({ key: "a", submission: { ...envelope, content: streamed } }))
  }
}

type Calls = ReturnType<typeof calls>

describe("a client", () => {
  it("fails with what sessions, relays and itself fail with, and what the content fails with", () => {
    expectTypeOf<ErrorOf<Calls["sendText"]>>().toEqualTypeOf<SmtpClient.SendError>()
    expectTypeOf<ErrorOf<Calls["sendStream"]>>().toEqualTypeOf<SmtpClient.SendError | Broken>()
    expectTypeOf<NeedsOf<Calls["sendStream"]>>().toEqualTypeOf<Store>()
    expectTypeOf<ClientUnavailable>().toExtend<SmtpClient.SendError>()
  })

  it("delivers without failing for anything but the submission", () => {
    expectTypeOf<ErrorOf<Calls["deliverText"]>>().toEqualTypeOf<InvalidArgument>()
    expectTypeOf<ErrorOf<Calls["deliverStream"]>>().toEqualTypeOf<InvalidArgument | Broken>()
    expectTypeOf<Effect.Effect.Success<Calls["deliverText"]>>().toEqualTypeOf<SmtpClient.Receipt>()
  })

  it("gives receipts of keyed submissions, whose stream cannot fail", () => {
    expectTypeOf<Effect.Effect.Success<Calls["sendAllText"]>>().toEqualTypeOf<
      Stream.Stream<Keyed<number, never, SmtpClient.NotSentCause>>
    >()
    expectTypeOf<Effect.Effect.Success<Calls["sendAllStream"]>>().toEqualTypeOf<
      Stream.Stream<Keyed<string, Broken, SmtpClient.NotSentCause>, never, Store>
    >()
  })

  it("is called by nobody here", () => {
    expectTypeOf(calls).returns.toEqualTypeOf<Calls>()
  })

  it("takes a schedule that looks at the receipt, and one that does not", () => {
    const looking = Schedule.recurWhile((receipt: SmtpClient.Receipt) => receipt.unknown.length === 0)
    expectTypeOf(looking).toExtend<NonNullable<SmtpClient.RetryOptions["schedule"]>>()
    expectTypeOf(Schedule.spaced("1 second")).toExtend<NonNullable<SmtpClient.RetryOptions["schedule"]>>()
  })

  it("is a layer that needs a transport, by each of its names", () => {
    type Transport = SmtpSocket | TlsUpgrade | CapabilityCache
    expectTypeOf(SmtpClient.layer({ host: "mx.test" })).toEqualTypeOf<
      Layer<SmtpClient.SmtpClient, InvalidArgument, Transport>
    >()
    type Configured = Layer<SmtpClient.SmtpClient, InvalidArgument | ConfigError, Transport>
    expectTypeOf(SmtpClient.layerConfig(SmtpClient.config("SMTP"))).toEqualTypeOf<Configured>()
    expectTypeOf(SmtpClient.layerUrl("smtp://mx.test")).toEqualTypeOf<Configured>()
  })
})
