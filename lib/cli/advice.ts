/**
 * One line on what to do next, for each error code. The README's table has the causes; a test holds
 * the two lists of codes against each other.
 */
const ADVICE: Readonly<Record<string, string>> = {
  invalid_request: "Mend the request; every reason is listed above.",
  config_invalid: "Mend the function's environment.",
  mailbox_refused:
    "Leave --mailbox out, or set MAILBOX_SECRET_PREFIX so that mailboxes have names.",
  mailbox_unknown: "Create the secret, or fill it: posthaste mailbox put NAME.",
  mailbox_invalid: "Mend the named fields of the mailbox's secret.",
  mailbox_unavailable: "Check the role, the secret's policy and its KMS key; else try again later.",
  tls_version: 'Lower "tls.minVersion", or have the server mended.',
  token_failed: "invalid_grant: consent anew. invalid_client: mend the secret. Else later.",
  internal_error: "A fault of ours: see the function's log.",
  sender_not_allowed: 'Add the address to the mailbox\'s "allowedFrom", or send as another.',
  recipient_not_allowed: "Widen ALLOWED_RECIPIENTS, or write to somebody else.",
  too_many_recipients: "Split the message.",
  bucket_not_allowed: "Add the bucket to ATTACHMENT_BUCKETS.",
  attachment_missing: "Correct the attachment's bucket, key or version, or upload it.",
  attachment_forbidden: "Check the attachment's key, and the role's s3:GetObject.",
  attachment_unavailable: "Try again later; restore an archived object.",
  dkim_invalid: "Mend the DKIM key, domain or selector in the mailbox's secret.",
  invalid_envelope: "Mend the address that the message names.",
  message_too_large: "Shrink the message, or send a link instead.",
  dns_failed: 'Check "host" in the mailbox; in a VPC, its resolver.',
  connect_failed: 'Check "host", "port" and "proxy", and whether a firewall is between.',
  connection_lost: "Try again later.",
  timeout:
    "Port 465 takes implicit TLS, 587 STARTTLS; else the route is blocked, or the server slow.",
  aborted: "Nothing was sent; run it again when you like.",
  tls_failed: 'Check "security": implicit for port 465, starttls for 587.',
  certificate_invalid:
    'Have the server\'s certificate renewed; "tls.ca" for a private CA, "tls.servername" for another name.',
  protocol_error: 'Check "host" and "port": this does not look like a submission server.',
  greeting_refused: "The server turns this machine away; its reply says why.",
  ehlo_refused: 'Set "ehloName" in the mailbox.',
  starttls_unavailable: 'Use another "port", or "security": "implicit".',
  starttls_refused: "Try again later, or use implicit TLS on port 465.",
  auth_failed:
    "Check username and password; many providers want an app password or authorisation code.",
  auth_required: 'Give the mailbox a "username" and "password".',
  auth_refused: "Read the server's reply; it may ask for an app password, or a login in a browser.",
  auth_unavailable: 'Compare what "posthaste check" lists with the mailbox\'s "auth".',
  auth_insecure: 'Set "security" to "implicit" or "starttls".',
  auth_deferred: "Try again later.",
  sender_refused: "Send as an address that this account owns.",
  recipient_refused: "Correct the address.",
  data_refused: "Read the server's reply.",
  content_refused: "Read the server's reply: spam, size or policy.",
  withheld: "Correct the recipient that was refused, then send to all again.",
  mailbox_quota: "Wait: the account's allowance is used up.",
  extension_unavailable: "Use another server, or do without what it lacks.",
  content_changed: "Send again; nothing was delivered.",
  content_failed: "Send again; nothing was delivered.",
  commit_failed: "Try again later; nothing was delivered.",
  unsent: "Try again later.",
  reply_lost: "Ask the receiver, or the server's log, before you send again.",
  invocation_lost: "Ask the receiver, or the server's log, before you send again.",
  in_progress: "Ask again in a minute: posthaste message ID.",
  key_reused: "Give a changed message a key of its own.",
  no_ledger: "Set LEDGER_TABLE: without a ledger no message can be looked up.",
  not_found: "Check the id; ids of a named mailbox need --mailbox. Records are kept for 30 days.",
  method_not_allowed: "Check the URL: it is the API's, without /messages.",
  rate_limited: "Wait a minute: the mailbox's maxPerMinute is used up.",
  object_missing: "Nothing to do: the object is gone.",
  object_unavailable: "Try again later.",
  payload_unavailable: "Try again later.",
  queue_unavailable: "Try again later.",
  request_too_large: "Put attachments in S3, or send from this machine: --mailbox-file.",
  not_invoked: "Check the function's name, the region and your rights; nothing was sent.",
  function_failed: "See the function's log, before you send again.",
  answer_lost: "Ask for the message before you send again: posthaste message ID.",
};

export function adviceFor(code: string): string | undefined {
  return ADVICE[code];
}

export const ADVISED: readonly string[] = Object.keys(ADVICE);
