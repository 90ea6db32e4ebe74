/**
 * A scripted server behind a real listener, under the names that tests of sessions use.
 */
import type * as NodeSmtpTest from "../../src/NodeSmtpTest.js"
import type * as SmtpTest from "../../src/SmtpTest.js"

export { listen } from "../../src/NodeSmtpTest.js"

export type { Handshake, Options as ListenOptions } from "../../src/NodeSmtpTest.js"

export type Listening = NodeSmtpTest.Listening<SmtpTest.Scripted>
