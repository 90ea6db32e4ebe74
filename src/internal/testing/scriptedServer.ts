/** Runs scripts, one for each connection. */
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as CapabilityCache from "../../CapabilityCache.js"
import { ConnectError } from "../../SmtpError.js"
import type { Endpoint, Service as SocketService } from "../../SmtpSocket.js"
import { formatEndpoint, SmtpSocket } from "../../SmtpSocket.js"
import { describeCause } from "../effect/cause.js"
import { withOwnLimit } from "../effect/bestEffort.js"
import { forkScope } from "../effect/scope.js"
import { concat, toText } from "./bytes.js"
import { makePair } from "./memoryConnection.js"
import type {
  ConnectionRecord,
  Script,
  Scripted,
  ScriptedOptions,
  Scripts,
  ServerConnection
} from "./model.js"
import { layerTls } from "./pretendedTls.js"
import { drain, RecordedConnection, runSteps, transcriptOf } from "./recordedConnection.js"
import { ScriptFailure } from "./scriptFailure.js"

interface ConnectionScript {
  readonly script: Script
  /** The connection's number, from 1. */
  readonly number: number
  readonly settled: Deferred.Deferred<undefined, ScriptFailure>
}

interface ScriptQueue {
  /** The next connection's script, if there is one. */
  readonly next: Effect.Effect<ConnectionScript | undefined>
  /** The scripts that `done` waits for. */
  readonly awaited: () => ReadonlyArray<ConnectionScript>
}

const makeQueue = (scripts: Scripts): Effect.Effect<ScriptQueue> => {
  const makeSettled = Deferred.make<undefined, ScriptFailure>()
  if (typeof scripts === "function") {
    const begun: Array<ConnectionScript> = []
    const next = Effect.map(makeSettled, (settled) => {
      const script = scripts(begun.length)
      if (script !== undefined) begun.push({ script, number: begun.length + 1, settled })
      return script && begun.at(-1)
    })
    return Effect.succeed({ next, awaited: () => [...begun] })
  }
  const given: ReadonlyArray<Script> = "steps" in scripts ? [scripts] : scripts
  return Effect.forEach(given, (script, index) =>
    Effect.map(makeSettled, (settled): ConnectionScript => ({ script, number: index + 1, settled }))
  ).pipe(
    Effect.map((all) => {
      const remaining = [...all]
      return { next: Effect.sync(() => remaining.shift()), awaited: () => all }
    })
  )
}

/** `done` and `verify`. A failure that neither has reported becomes a defect of the scope's end. */
const makeVerdict = (awaited: ScriptQueue["awaited"]) =>
  Effect.gen(function* () {
    const failed = yield* Deferred.make<never, ScriptFailure>()
    let isReported = false
    const reporting = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.tapError(effect, (error) =>
        Effect.sync(() => {
          isReported ||= error instanceof ScriptFailure
        })
      )

    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        const failure = yield* Deferred.poll(failed)
        if (isReported || Option.isNone(failure)) return
        return yield* Effect.die(yield* Effect.flip(failure.value))
      })
    )

    const done: Scripted["done"] = reporting(
      Effect.suspend(() =>
        Effect.raceFirst(
          Deferred.await(failed),
          Effect.forEach(awaited(), ({ settled }) => Deferred.await(settled), { discard: true })
        )
      )
    )
    const verify: Scripted["verify"] = (client) =>
      Effect.raceFirst(Deferred.await(failed), client).pipe(
        Effect.catchAllCause((cause) =>
          Effect.flatMap(
            Deferred.poll(failed),
            Option.getOrElse(() => Effect.failCause(cause))
          )
        ),
        reporting,
        Effect.zipLeft(done)
      )
    const fail = (script: ConnectionScript, failure: ScriptFailure) =>
      Effect.zipRight(Deferred.fail(failed, failure), Deferred.fail(script.settled, failure))
    return { done, verify, fail }
  })

/** Stays, once the script has ended, until the client leaves. */
const linger = (connection: RecordedConnection) =>
  Effect.suspend(() => {
    if (connection.isReading) return Effect.ignore(drain(connection))
    return connection.isClosed ? Effect.void : Effect.never
  })

const recordOf = (connection: RecordedConnection): ConnectionRecord => {
  const chunks = connection.entries.flatMap((entry) => (entry._tag === "Client" ? [entry.bytes] : []))
  return {
    received: concat(chunks),
    chunks,
    contents: [...connection.contents],
    transcript: transcriptOf(connection)
  }
}

/** Fails a dial that the script does not accept. */
const failDial = (
  endpoint: string,
  { script, settled }: ConnectionScript,
  timeout: Duration.Duration
): Effect.Effect<never, ConnectError> =>
  Effect.zipRight(
    Deferred.succeed(settled, undefined),
    script.dial === "Refuses"
      ? unreachable(endpoint, "the script refuses the connection")
      : Effect.zipRight(Effect.sleep(timeout), new ConnectError({ endpoint, reason: "Timeout" }))
  )

const unreachable = (endpoint: string, cause: string): ConnectError =>
  new ConnectError({ endpoint, reason: "Unreachable", cause: new Error(cause) })

export const makeScripted = (
  scripts: Scripts,
  options: ScriptedOptions = {}
): Effect.Effect<Scripted, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const queue = yield* makeQueue(scripts)
    const { done, fail, verify } = yield* makeVerdict(queue.awaited)
    const recorded: Array<RecordedConnection> = []
    const dialled: Array<Endpoint> = []

    const serve = (script: ConnectionScript, accepted: ServerConnection) =>
      Effect.gen(function* () {
        const connection = new RecordedConnection(
          accepted,
          options.upgrade ?? Effect.succeed,
          yield* Effect.scope
        )
        recorded.push(connection)
        yield* runSteps(connection, script.script.steps).pipe(
          Effect.zipRight(connection.flush),
          Effect.catchAllDefect((defect) =>
            connection.fail("Effect", `the script died: ${describeCause(defect)}`)
          ),
          Effect.matchEffect({
            onFailure: (failure) =>
              fail(
                script,
                new ScriptFailure({
                  ...failure,
                  connection: script.number,
                  transcript: transcriptOf(connection)
                })
              ),
            onSuccess: () => Effect.zipRight(Deferred.succeed(script.settled, undefined), linger(connection))
          }),
          Effect.ensuring(connection.destroy)
        )
      }).pipe(Effect.scoped)

    const dial: SocketService["dial"] = (endpoint, { timeout }) =>
      Effect.gen(function* () {
        const number = dialled.push(endpoint)
        const script = yield* queue.next
        const name = formatEndpoint(endpoint)
        if (script === undefined) {
          return yield* unreachable(name, `the test has no script for connection ${number}`)
        }
        if (script.script.dial !== "Accepts") return yield* failDial(name, script, timeout)
        const pair = yield* makePair({ capacity: options.capacity })
        yield* Effect.addFinalizer(() => pair.client.destroy)
        const own = yield* forkScope(scope)
        const serving = Effect.ensuring(serve(script, pair.server), Scope.close(own, Exit.void))
        yield* Effect.forkIn(Effect.interruptible(serving), own)
        // The script still sees a client that has left just before the scope closes.
        yield* Scope.addFinalizer(own, Effect.yieldNow())
        return pair.client
      })

    const connections = Effect.sync(() => recorded.map(recordOf))
    const received = Effect.map(connections, (records) => concat(records.map((record) => record.received)))
    const socket = withOwnLimit({ dial })
    return {
      socket,
      layer: Layer.mergeAll(Layer.succeed(SmtpSocket, socket), layerTls, CapabilityCache.layerNone),
      accept: (connection) =>
        Effect.flatMap(queue.next, (script) =>
          script === undefined ? connection.reset : serve(script, connection)
        ),
      done,
      verify,
      received,
      receivedText: Effect.map(received, toText),
      transcript: Effect.map(connections, (records) =>
        records.flatMap((record) => record.transcript).join("\n")
      ),
      connections,
      dialled: Effect.sync(() => [...dialled])
    }
  })
