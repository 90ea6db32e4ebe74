/** TLS without cryptography, for connections in memory. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Connection } from "../../SmtpSocket.js"
import type { SecuredConnection } from "../../TlsUpgrade.js"
import { TlsUpgrade } from "../../TlsUpgrade.js"

const pretendTls = (connection: Connection, servername: string): SecuredConnection => ({
  pull: connection.pull,
  write: connection.write,
  buffered: connection.buffered,
  destroy: connection.destroy,
  addresses: connection.addresses,
  tls: {
    protocol: "TLSv1.3",
    cipher: "none (in memory)",
    servername,
    verified: true,
    resumed: false,
    certificate: undefined,
    channelBinding: undefined
  }
})

export const layerTls: Layer.Layer<TlsUpgrade> = Layer.succeed(TlsUpgrade, {
  upgrade: (connection, options) =>
    Effect.acquireRelease(
      Effect.succeed(pretendTls(connection, options.tls.servername ?? options.host)),
      (secured) => secured.destroy
    )
})
