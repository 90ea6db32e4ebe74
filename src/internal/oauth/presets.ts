/** Token endpoints and scopes of Google and Microsoft. */
import type {
  GmailOptions,
  GmailServiceAccountOptions,
  Microsoft365Options,
  Options
} from "../../SmtpOAuth.js"

const googleTokenUrl = "https://oauth2.googleapis.com/token"

export const gmail = ({ clientId, clientSecret, refreshToken, ...options }: GmailOptions): Options => ({
  ...options,
  tokenUrl: googleTokenUrl,
  grant: { _tag: "RefreshToken", refreshToken, client: { id: clientId, secret: clientSecret } }
})

export const gmailServiceAccount = ({
  clientEmail,
  privateKey,
  privateKeyId,
  scope = "https://mail.google.com/",
  ...options
}: GmailServiceAccountOptions): Options => ({
  ...options,
  scope,
  tokenUrl: googleTokenUrl,
  grant: {
    _tag: "ServiceAccount",
    issuer: clientEmail,
    privateKey,
    keyId: privateKeyId,
    subject: options.username
  }
})

export const microsoft365 = ({
  clientId,
  clientSecret,
  refreshToken,
  scope,
  tenant,
  ...options
}: Microsoft365Options): Options => {
  const client = { id: clientId, secret: clientSecret }
  const grant =
    refreshToken === undefined
      ? ({ _tag: "ClientCredentials", client } as const)
      : ({ _tag: "RefreshToken", refreshToken, client } as const)
  const defaultScope =
    refreshToken === undefined
      ? "https://outlook.office365.com/.default"
      : "https://outlook.office.com/SMTP.Send offline_access"
  return {
    ...options,
    scope: scope ?? defaultScope,
    tokenUrl: `https://login.microsoftonline.com/${encodeURIComponent(tenant)}/oauth2/v2.0/token`,
    grant
  }
}
