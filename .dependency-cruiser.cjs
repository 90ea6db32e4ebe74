// Which module may import which: the rooms of ARCHITECTURE.md as rules. Type-only imports count too.

const effectBarrels =
  "^node_modules/(effect|@effect/platform|@effect/platform-node)/(src|dist/[a-z]+)/index\\."
const optionalPeers = "^node_modules/(@effect/experimental|html-to-text|nodemailer|postal-mime|socks)/"
// Modules that need an optional peer, and are subpaths only.
const composition = "^src/(Mail(er|Message(Schema)?)\\.ts$|Dkim\\.ts$|internal/(mail|mailer|dkim)/)"

module.exports = {
  forbidden: [
    {
      name: "no-cycles",
      comment: "Data flows one way: move what both sides need into a module below them.",
      severity: "error",
      from: { path: "^src/" },
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } }
    },
    {
      // A service module and its machinery in src/internal name each other's types; nothing else may.
      name: "no-cycles-of-types",
      comment: "Move the types that both sides need into a module below them.",
      severity: "error",
      from: { path: "^src/(protocol/|[^/]+$)" },
      to: { circular: true, viaOnly: { path: "^src/(protocol/|[^/]+$)" } }
    },
    {
      name: "protocol-is-pure",
      comment:
        "src/protocol says what the bytes mean, with nothing but itself: no effect, no node, no package.",
      severity: "error",
      from: { path: "^src/protocol/" },
      to: { pathNot: "^src/protocol/" }
    },
    {
      name: "sockets-in-node-modules-only",
      comment:
        "Only NodeSmtp* and internal/node import node:net and node:tls; others take SmtpSocket and TlsUpgrade.",
      severity: "error",
      from: { path: "^src/", pathNot: "^src/(NodeSmtp[^/]*\\.ts$|internal/node/)" },
      to: { path: "^(node:)?(net|tls|dgram|dns|http|https|http2)$" }
    },
    {
      name: "internals-do-not-reach-up",
      comment:
        "Machinery imports no module that is built on it: types go through protocol or a service module.",
      severity: "error",
      from: { path: "^src/internal/" },
      to: {
        path: "^src/(index|MailMessageSchema|NodeSmtpHttpProxy|NodeSmtpSocks|NodeSmtpTest|SmtpSchema|SmtpTest)\\.ts$"
      }
    },
    {
      name: "sessions-know-no-client",
      comment: "A session is one connection: what many of them need is in internal/client.",
      severity: "error",
      from: { path: "^src/internal/(?!client/|mailer/|options/(client|config|text|url)\\.ts$)" },
      to: { path: "^src/(SmtpClient\\.ts$|internal/client/)" }
    },
    {
      name: "no-barrels",
      comment: 'Import "effect/Effect", not "effect": the barrel takes twice as long to load.',
      severity: "error",
      from: { path: "^src/" },
      to: { path: [effectBarrels, "^src/index\\.ts$"] }
    },
    {
      name: "no-optional-peers",
      comment:
        "A program without this package could not import the module. Give it a subpath and an exception here.",
      severity: "error",
      from: {
        path: "^src/",
        // internal/testing/parse loads postal-mime with the first message.
        pathNot: [composition, "^src/(SmtpRateLimitStore|internal/(node/socks|testing/parse))\\.ts$"]
      },
      to: { path: optionalPeers }
    },
    {
      name: "composition-is-apart",
      comment:
        "Neither session nor client depends on composition: they take a submission, wherever it comes from.",
      severity: "error",
      // NodeSmtp and SmtpTest load Mailer with the first layer that needs it.
      from: { path: "^src/", pathNot: [composition, "^src/(NodeSmtp|SmtpTest)\\.ts$"] },
      to: { path: composition }
    },
    {
      name: "only-declared-packages",
      comment: "The package is a dev dependency or is missing from package.json: users would not have it.",
      severity: "error",
      from: { path: "^src/" },
      to: {
        dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown"],
        dependencyTypesNot: ["npm", "npm-peer", "npm-optional"]
      }
    },
    {
      name: "resolvable",
      comment: "The import leads nowhere.",
      severity: "error",
      from: {},
      to: { couldNotResolve: true }
    },
    {
      name: "examples-are-programs",
      comment: "Examples import what users can import: effect-smtplib and its public subpaths.",
      severity: "error",
      from: { path: "^examples/" },
      to: { path: "^src/(internal|protocol)/" }
    }
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"]
    }
  }
}
