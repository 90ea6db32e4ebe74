/**
 * What the compiler knows of a session. The assertions are those of `tsc`; running them shows that nothing throws.
 */
import { describe, expectTypeOf, it } from "@effect/vitest"
import type { ConfigError } from "effect/ConfigError"
import type * as Effect from "effect/Effect"
import * as Effects from "effect/Effect"
import type { Layer } from "effect/Layer"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CapabilityCache } from "../../src/CapabilityCache.js"
import * as SmtpCommand from "../../src/SmtpCommand.js"
import * as SmtpContent from "../../src/SmtpContent.js"
import type {
  AuthenticationError,
  CommandRefused,
  ConnectError,
  ContentError,
  DataError,
  Disconnection,
  HeloError,
  InvalidArgument,
  NotSupported,
  ProtocolError,
  RecipientsRefused,
  ReplyTimeout,
  SenderRefused,
  ServerDisconnected,
  TlsError
} from "../../src/SmtpError.js"
import type { Receipt } from "../../src/SmtpReceipt.js"
import type * as SmtpSession from "../../src/SmtpSession.js"
import type { Group, NotSentCause, Service, SetupError, SendError } from "../../src/SmtpSession.js"
import type { SmtpSocket } from "../../src/SmtpSocket.js"
import type { TlsUpgrade } from "../../src/TlsUpgrade.js"

type Reply = SmtpSession.Replies[0]
type ErrorOf<A extends Effect.Effect<unknown, unknown, unknown>> = Effect.Effect.Error<A>
type Result<Name extends keyof Service> = Service[Name] extends (
  ...args: never
) => Effect.Effect<infer A, infer E, infer R>
  ? Effect.Effect<A, E, R>
  : Service[Name] extends Effect.Effect<infer A, infer E, infer R>
    ? Effect.Effect<A, E, R>
    : never

interface Broken {
  readonly _tag: "Broken"
}

interface Store {
  readonly _: unique symbol
}

/** Never called: only the types of its results matter. */
const calls = (smtp: Service, stream: Stream.Stream<Uint8Array, Broken, Store>) => {
  const envelope = { from: "a@x.test", to: "b@y.test" }
  const streamed = SmtpContent.replayable(stream)
  return {
    sendText: smtp.send({ ...envelope, content: "text" }),
    sendBytes: smtp.send({ ...envelope, content: new Uint8Array(1) }),
    sendStream: smtp.send({ ...envelope, content: streamed }),
    sendPlainStream: smtp.send({ ...envelope, content: SmtpContent.once(Stream.empty) }),
    sendEither: smtp.send({ ...envelope, content: Math.random() < 1 ? "text" : streamed }),
    deliverText: smtp.deliver({ ...envelope, content: "text" }),
    deliverStream: smtp.deliver({ ...envelope, content: streamed }),
    dataText: smtp.data("text"),
    dataStream: smtp.data(streamed),
    within: Effects.all([smtp.send({ ...envelope, content: "text" })]),
    transaction: smtp.transaction("a@x.test"),
    noop: smtp.run(SmtpCommand.noop),
    mail: smtp.run(SmtpCommand.mail("a@x.test")),
    group: smtp.group([SmtpCommand.mail("a@x.test"), SmtpCommand.rcpt("b@y.test"), SmtpCommand.noop]),
    caught: smtp.send({ ...envelope, content: "text" }).pipe(
      Effects.catchTags({
        SenderRefused: () => Effects.void,
        RecipientsRefused: () => Effects.void,
        DataError: () => Effects.void,
        ContentError: () => Effects.void,
        NotSupported: () => Effects.void,
        HeloError: () => Effects.void,
        InvalidArgument: () => Effects.void,
        ServerDisconnected: () => Effects.void,
        ReplyTimeout: () => Effects.void,
        ProtocolError: () => Effects.void
      })
    )
  }
}

const setUp = (made: Effect.Effect<Service, SetupError>) =>
  made.pipe(
    Effects.catchTags({
      ConnectError: () => Effects.void,
      TlsError: () => Effects.void,
      HeloError: () => Effects.void,
      CommandRefused: () => Effects.void,
      NotSupported: () => Effects.void,
      AuthenticationError: () => Effects.void,
      InvalidArgument: () => Effects.void,
      ServerDisconnected: () => Effects.void,
      ReplyTimeout: () => Effects.void,
      ProtocolError: () => Effects.void
    })
  )

type Calls = ReturnType<typeof calls>

describe("the errors of each command are exactly", () => {
  it("those of a lost session, in one union", () => {
    expectTypeOf<Disconnection>().toEqualTypeOf<ServerDisconnected | ReplyTimeout | ProtocolError>()
  })

  it("HeloError for EHLO, and the wrong dialect for HELO and LHLO", () => {
    expectTypeOf<ErrorOf<Result<"ehlo">>>().toEqualTypeOf<HeloError | Disconnection>()
    expectTypeOf<ErrorOf<Result<"helo">>>().toEqualTypeOf<HeloError | InvalidArgument | Disconnection>()
    expectTypeOf<ErrorOf<Result<"lhlo">>>().toEqualTypeOf<HeloError | InvalidArgument | Disconnection>()
    expectTypeOf<ErrorOf<Result<"ehloOrHeloIfNeeded">>>().toEqualTypeOf<HeloError | Disconnection>()
  })

  it("those of STARTTLS and AUTH", () => {
    expectTypeOf<ErrorOf<Result<"startTls">>>().toEqualTypeOf<
      TlsError | CommandRefused | NotSupported | HeloError | InvalidArgument | Disconnection
    >()
    expectTypeOf<ErrorOf<Result<"authenticate">>>().toEqualTypeOf<
      AuthenticationError | HeloError | InvalidArgument | Disconnection
    >()
  })

  it("those of MAIL, RCPT and BDAT", () => {
    expectTypeOf<ErrorOf<Result<"mail">>>().toEqualTypeOf<
      SenderRefused | InvalidArgument | NotSupported | Disconnection
    >()
    expectTypeOf<ErrorOf<Result<"rcpt">>>().toEqualTypeOf<
      RecipientsRefused | InvalidArgument | NotSupported | Disconnection
    >()
    expectTypeOf<ErrorOf<Result<"bdat">>>().toEqualTypeOf<
      DataError | RecipientsRefused | NotSupported | InvalidArgument | Disconnection
    >()
  })

  it("CommandRefused for RSET, NOOP and QUIT", () => {
    expectTypeOf<ErrorOf<Result<"rset">>>().toEqualTypeOf<CommandRefused | Disconnection>()
    expectTypeOf<ErrorOf<Result<"noop">>>().toEqualTypeOf<CommandRefused | Disconnection>()
    expectTypeOf<ErrorOf<Result<"quit">>>().toEqualTypeOf<CommandRefused | Disconnection>()
  })

  it("no refusal for what gives any reply as it is", () => {
    expectTypeOf<ErrorOf<Result<"vrfy">>>().toEqualTypeOf<InvalidArgument | NotSupported | Disconnection>()
    expectTypeOf<ErrorOf<Result<"expn">>>().toEqualTypeOf<InvalidArgument | NotSupported | Disconnection>()
    expectTypeOf<ErrorOf<Result<"help">>>().toEqualTypeOf<InvalidArgument | Disconnection>()
    expectTypeOf<ErrorOf<Result<"command">>>().toEqualTypeOf<InvalidArgument | Disconnection>()
  })

  it("those of the command that is run", () => {
    expectTypeOf<ErrorOf<Calls["noop"]>>().toEqualTypeOf<CommandRefused | Disconnection>()
    expectTypeOf<ErrorOf<Calls["mail"]>>().toEqualTypeOf<
      SenderRefused | InvalidArgument | NotSupported | Disconnection
    >()
  })

  it("none at all for what only looks", () => {
    expectTypeOf<ErrorOf<Service["capabilities"]>>().toEqualTypeOf<never>()
    expectTypeOf<ErrorOf<Service["state"]>>().toEqualTypeOf<never>()
    expectTypeOf<ErrorOf<Service["tls"]>>().toEqualTypeOf<never>()
    expectTypeOf<ErrorOf<Service["awaitClosed"]>>().toEqualTypeOf<never>()
  })
})

describe("errors and requirements of content", () => {
  it("are never and never for text, bytes and streams that have none", () => {
    expectTypeOf<Calls["sendText"]>().toEqualTypeOf<Effect.Effect<Receipt<NotSentCause>, SendError>>()
    expectTypeOf<Calls["sendBytes"]>().toEqualTypeOf<Calls["sendText"]>()
    expectTypeOf<Calls["sendPlainStream"]>().toEqualTypeOf<Calls["sendText"]>()
    expectTypeOf<Calls["deliverText"]>().toEqualTypeOf<
      Effect.Effect<Receipt<NotSentCause>, InvalidArgument>
    >()
    expectTypeOf<ErrorOf<Calls["dataText"]>>().toEqualTypeOf<
      DataError | RecipientsRefused | ContentError | InvalidArgument | Disconnection
    >()
    expectTypeOf<Effect.Effect.Context<Calls["dataText"]>>().toEqualTypeOf<never>()
  })

  it("are not inferred from where the send is used", () => {
    expectTypeOf<Calls["within"]>().toEqualTypeOf<Effect.Effect<[Receipt<NotSentCause>], SendError>>()
  })

  it("flow from a stream into send, deliver and data", () => {
    expectTypeOf<Calls["sendStream"]>().toEqualTypeOf<
      Effect.Effect<Receipt<NotSentCause>, SendError | Broken, Store>
    >()
    expectTypeOf<Calls["sendEither"]>().toEqualTypeOf<Calls["sendStream"]>()
    expectTypeOf<Calls["deliverStream"]>().toEqualTypeOf<
      Effect.Effect<Receipt<NotSentCause>, InvalidArgument | Broken, Store>
    >()
    expectTypeOf<Calls["dataStream"]>().toEqualTypeOf<
      Effect.Effect<SmtpSession.Replies, ErrorOf<Calls["dataText"]> | Broken, Store>
    >()
  })

  it("are those of MAIL for a transaction, which lives in a scope", () => {
    expectTypeOf<Calls["transaction"]>().toEqualTypeOf<
      Effect.Effect<
        SmtpSession.Transaction,
        SenderRefused | InvalidArgument | NotSupported | Disconnection,
        Scope
      >
    >()
  })
})

describe("catchTags over every tag leaves never", () => {
  it("of a send", () => {
    expectTypeOf<ErrorOf<Calls["caught"]>>().toEqualTypeOf<never>()
    expectTypeOf<SendError["_tag"]>().toEqualTypeOf<
      | "SenderRefused"
      | "RecipientsRefused"
      | "DataError"
      | "ContentError"
      | "NotSupported"
      | "HeloError"
      | "InvalidArgument"
      | Disconnection["_tag"]
    >()
  })

  it("of the set-up", () => {
    expectTypeOf<ErrorOf<ReturnType<typeof setUp>>>().toEqualTypeOf<never>()
    expectTypeOf<Exclude<SetupError, Disconnection>>().toEqualTypeOf<
      | ConnectError
      | TlsError
      | HeloError
      | CommandRefused
      | NotSupported
      | AuthenticationError
      | InvalidArgument
    >()
  })
})

describe("a group", () => {
  type Rset = typeof SmtpCommand.rset
  type Noop = typeof SmtpCommand.noop
  type Mail = ReturnType<typeof SmtpCommand.mail>

  it("gives one reply for each of its commands", () => {
    expectTypeOf<Effect.Effect.Success<Calls["group"]>>().toEqualTypeOf<readonly [Reply, Reply, Reply]>()
  })

  it("may end in a command that has to be last", () => {
    expectTypeOf<readonly [Rset, Mail, Noop]>().toExtend<Group>()
    expectTypeOf<readonly [Noop]>().toExtend<Group>()
    expectTypeOf<readonly [Rset, Mail]>().toExtend<Group>()
  })

  it("has no such command before its end", () => {
    expectTypeOf<readonly [Noop, Rset]>().not.toExtend<Group>()
    expectTypeOf<readonly [Rset, Noop, Noop]>().not.toExtend<Group>()
    expectTypeOf<readonly [ReturnType<typeof SmtpCommand.vrfy>, Mail]>().not.toExtend<Group>()
    expectTypeOf<readonly [ReturnType<typeof SmtpCommand.command>, Mail]>().not.toExtend<Group>()
  })

  it("has at least one command", () => {
    expectTypeOf<readonly []>().not.toExtend<Group>()
  })
})

describe("the surroundings of a session", () => {
  it("are the same whatever the options", () => {
    type Surroundings = Scope | SmtpSocket | TlsUpgrade | CapabilityCache
    expectTypeOf<Effect.Effect.Context<ReturnType<typeof SmtpSession.make>>>().toEqualTypeOf<Surroundings>()
    expectTypeOf<
      Effect.Effect.Context<ReturnType<typeof SmtpSession.connect>>
    >().toEqualTypeOf<Surroundings>()
  })

  it("are those of its layers, without the scope", () => {
    expectTypeOf<ReturnType<typeof SmtpSession.layer>>().toEqualTypeOf<
      Layer<SmtpSession.SmtpSession, SetupError, SmtpSocket | TlsUpgrade | CapabilityCache>
    >()
    expectTypeOf<ReturnType<typeof SmtpSession.layerConfig>>().toEqualTypeOf<
      Layer<SmtpSession.SmtpSession, SetupError | ConfigError, SmtpSocket | TlsUpgrade | CapabilityCache>
    >()
  })

  it("do not matter to its commands", () => {
    expectTypeOf(calls).parameter(0).toEqualTypeOf<Service>()
    expectTypeOf(setUp).parameter(0).toEqualTypeOf<Effect.Effect<Service, SetupError>>()
  })
})
