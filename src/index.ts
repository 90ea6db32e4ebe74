/**
 * Every module as a namespace. Left out, and imported by their own paths:
 *
 * - `effect-smtplib/CapabilityCacheKeyValue`: it reads what is stored with Schema, which costs over 100 ms to import
 * - `effect-smtplib/Dkim`: it needs nodemailer, which is an optional peer
 * - `effect-smtplib/MailMessage`: it needs nodemailer, which is an optional peer
 * - `effect-smtplib/MailMessageSchema`: it needs nodemailer, which is an optional peer, and Schema
 * - `effect-smtplib/Mailer`: it needs nodemailer, which is an optional peer
 * - `effect-smtplib/NodeSmtpHttpProxy`: few programs need it, and it imports node:http
 * - `effect-smtplib/NodeSmtpSocks`: it needs socks
 * - `effect-smtplib/NodeSmtpTest`: programs under test want it, programs in production do not
 * - `effect-smtplib/SmtpOAuth`: it needs an HTTP client, which costs over 100 ms to import
 * - `effect-smtplib/SmtpRateLimitStore`: it needs @effect/experimental
 * - `effect-smtplib/SmtpSchema`: importing Schema costs over 100 ms
 * - `effect-smtplib/SmtpTest`: programs under test want it, programs in production do not
 *
 * @since 0.1.0
 */
export * as CapabilityCache from "./CapabilityCache.js"
export * as NodeSmtp from "./NodeSmtp.js"
export * as SmtpAuth from "./SmtpAuth.js"
export * as SmtpClient from "./SmtpClient.js"
export * as SmtpCommand from "./SmtpCommand.js"
export * as SmtpContent from "./SmtpContent.js"
export * as SmtpError from "./SmtpError.js"
export * as SmtpProvider from "./SmtpProvider.js"
export * as SmtpRateLimit from "./SmtpRateLimit.js"
export * as SmtpReceipt from "./SmtpReceipt.js"
export * as SmtpReply from "./SmtpReply.js"
export * as SmtpSession from "./SmtpSession.js"
export * as SmtpSocket from "./SmtpSocket.js"
export * as SmtpSubmission from "./SmtpSubmission.js"
export * as SmtpTranscript from "./SmtpTranscript.js"
export * as TlsUpgrade from "./TlsUpgrade.js"
