/**
 * Errors: one class, and one table of codes. A code is a promise: it is never reused for something else.
 */

/** Each code with what the user can do next, unless the place that throws knows better. */
export const NEXT = {
  ALREADY_LINKED: 'This data directory holds a linked device; use another --data, or unlink it first.',
  ANSWER_INVALID: 'Is this a Signal-compatible server? If it is newer than this version, update Countersign.',
  BACKUP_DAMAGED: 'Use another backup. Nothing was restored.',
  BACKUP_FAILED: 'Check disk space and the rights of the folder. An earlier backup of that name is kept.',
  BACKUP_NEWER: 'Update Countersign: a newer version wrote this backup.',
  CAPTCHA_NEEDED: 'Solve the captcha of the server in a browser, then run it again with --captcha TOKEN.',
  CAPTCHA_REFUSED:
    'A captcha is good once and for minutes: solve a new one and give it with --captcha TOKEN.',
  CEREMONY_ENDED: 'See what has ended it, and start it again at every party.',
  CEREMONY_UNCONFIRMED:
    'Nothing is lost: what there was before is kept too, and the others are asked for a day. The same command goes on waiting.',
  CHALLENGE_REQUIRED: 'The server asks for a human: confirm on the phone, then send again.',
  CLIENT_OUTDATED: 'Update Countersign: this server takes no connections from this version.',
  CODE_EXPIRED: 'Start again with a new code.',
  CODE_IN_TEXT:
    'The message was not sent and the verification is cancelled. Start again, and say the new code by phone or in person.',
  CODE_MISTYPED: 'Look at the code again; nothing was spent.',
  CODE_NEEDED: 'Run it again with --code CODE, once the code has arrived.',
  CODE_REJECTED: 'Ask for a new code, and read it out by phone or in person.',
  CODE_WRONG: 'Run it again with the right --code; the code that was sent stays good for some minutes.',
  CONFIRMATION_NEEDED: 'Give --yes if that is what you want.',
  CONNECTED_ELSEWHERE: 'Another process uses this account. Stop it, then start again.',
  CONTENT_INVALID: 'Tell the author of the sending program.',
  DEVICES_UNSETTLED: 'Nothing to do: it is tried again later.',
  DEVICE_LIMIT: 'Remove a device on the phone, then link again.',
  DEVICE_UNKNOWN: 'Look at the devices there are: countersign account devices',
  DEVICE_UNLINKED: 'Link again; what is stored here is kept.',
  DEVSERVER_MISSING: 'Install it: npm install --save-dev @signalapp/mock-server',
  EXITED:
    "Tell the plugin's author: no part of a plugin may call process.exit. Start again; a message that does it each time ends in countersign dead.",
  FOLDER_NOT_EMPTY: 'Give --data a folder that is empty or does not exist yet.',
  GROUP_INVALID: 'Each line of the group is what countersign me --json prints, of another account each.',
  IDENTITY_CHANGED:
    "The contact's safety number changed. Verify it, then accept the new identity: countersign trust accept CONTACT.",
  INTERNAL: 'This is a bug: please report it with what --verbose shows.',
  INTERRUPTED: 'Run the command again; what was written is kept.',
  INTRODUCTION_CONFLICT: 'Run a verification with the contact: countersign verify start CONTACT',
  INTRODUCTION_INVALID: 'See countersign introduce --help.',
  KEY_UNKNOWN:
    'Use a device that took part when the key was made: countersign bls keys lists what a device holds.',
  LINK_CAPABILITY: 'Update Countersign: this server asks new devices for something that it does not declare.',
  LINK_EXPIRED: 'Run link again and scan a new QR code in time.',
  LINK_FAILED: 'Run link again; if it stays so, look at the server log.',
  NOT_LINKED: 'Link first: countersign link --server FILE --data DIR',
  NOT_PRIMARY:
    'Only the primary device may: the phone, or the data directory of countersign account register.',
  NOT_RUNNING: 'Wait until it is ready. A program calls run() first, and waits for the event ready.',
  PASSPHRASE_NEEDED: 'Give --passphrase-file, COUNTERSIGN_PASSPHRASE or --key-file.',
  PASSPHRASE_WRONG: 'Try again with the right passphrase or key file.',
  PAYLOAD_TOO_LARGE: 'Send less at once, or in parts.',
  PEER_GONE: 'Start again on both sides, with a new code.',
  PEER_UNVERIFIED:
    'Verify the contact first: countersign verify start CONTACT. The message is kept, and goes once that is done.',
  PERMISSION_NEEDED: "The plugin's author adds it to the plugin's permissions.",
  PLUGIN_FAILED: "Tell the plugin's author; the message is kept, see countersign dead.",
  PLUGIN_INVALID: 'Check the name or path of the plugin and its configuration.',
  PLUGIN_NOT_LOADED: 'Run the bot with --plugin NAME.',
  PORT_TAKEN: 'Choose another port, or 0 for any that is free.',
  PROFILE_INVALID: 'Correct the line that is named in the server profile.',
  RATE_LIMITED: 'Wait until the time given; rows in the outbox are sent then by themselves.',
  RECIPIENT_LACKS_PLUGIN: 'Ask who runs that bot to load the plugin, then send again.',
  RECIPIENT_UNKNOWN: 'Use the ACI of the recipient, or a name or number that exactly one contact has.',
  RECIPIENT_UNREGISTERED: 'Check the contact: the server knows no such account.',
  REGISTRATION_LOCKED: 'Wait until the lock has run out, or register with the phone that has its PIN.',
  REGISTRATION_REFUSED: 'Check the number (+, country code, digits); if it is right, look at the server log.',
  REQUEST_REFUSED: 'Look at the server log; if the server is newer than this version, update Countersign.',
  REQUEST_TIMEOUT: 'Is the server up and reachable? It is tried again.',
  ROW_UNKNOWN: 'Look at the list for the ids there are.',
  SERVER_UNREACHABLE: 'Is the server up, and is the address in the profile right?',
  STALLED:
    "Tell the plugin's author: a handler must not compute for so long without a pause. Start again; a message that does it each time ends in countersign dead.",
  STORE_CLOSED: 'This is a fault of the program: something used the store after it was closed. Report it.',
  STORE_CONFLICT: 'Nothing was written; it is safe to try again.',
  STORE_DAMAGED: 'Restore a backup. Nothing was changed, and no new identity was made.',
  STORE_LOCKED: 'Another process uses this data directory. Stop it, then start again.',
  STORE_NEWER: 'Update Countersign: a newer version wrote this data directory.',
  STORE_WRITE_FAILED: 'Check disk space and start again; nothing was acknowledged.',
  TLS_UNTRUSTED: 'Add the server\'s CA certificate to the profile ("ca").',
  TOTP_NEEDED: 'Register with an app that has the one-time password, and remove it from the account there.',
  TRANSFER_POSSIBLE: 'Give --yes to take the account over without its data; its linked devices are removed.',
  UNCAUGHT:
    'Its stack is on stderr: tell the author of the plugin that it names. Start again; a message that does it each time ends in countersign dead.',
  USAGE: 'See --help.',
  VERIFY_LOCKED: 'Wait until the time given, or compare safety numbers.',
  VERIFY_SUPERSEDED: "Use the other person's code.",
  VERIFY_UNSUPPORTED: 'Update one of the two programs.',
} as const;

export type ErrorCode = keyof typeof NEXT;

export interface BotErrorOptions {
  cause?: unknown;
  /** In place of the code's ordinary next step. */
  next?: string;
  /** ms since 1970: when a repeat can succeed. */
  retryAt?: number;
}

/** What Countersign throws. `message` says what happened, without secrets or message text; `next` what to do. */
export class BotError extends Error {
  readonly code: ErrorCode;
  readonly next: string;
  readonly retryAt: number | undefined;

  constructor(code: ErrorCode, message: string, options: BotErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BotError';
    this.code = code;
    this.next = options.next ?? NEXT[code];
    this.retryAt = options.retryAt;
  }
}

export function isBotError(error: unknown, code?: ErrorCode): error is BotError {
  return error instanceof BotError && (code === undefined || error.code === code);
}

/** A thrown value as a line of text: the code where there is one. */
export function describe(error: unknown): string {
  if (error instanceof BotError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : String(error);
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(NEXT, text);
}
