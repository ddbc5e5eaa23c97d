/**
 * Kept tables: which rows of the store a backup holds, each decision with its reason. A table that is not named here is
 * a fault that a test finds.
 *
 * The rule: what says who we are and what we know is kept; what says how far a cryptographic protocol has come is not,
 * since going on from an older step would use a message key or a nonce a second time. A row is kept or not by its key
 * alone (but for messages of volatile types, `volatile-tags.ts`), so what plugins must not go on with (a step of a
 * protocol run, nonces made in advance) they keep in `transaction.volatile`, which is left out here. To note that the
 * runs which their state still names are dead is up to them: `host.restoredAt` tells them (`fresh-start.ts`).
 */
interface Decision {
  /** The key of a single row, or what the keys of a table begin with, up to and with the slash. */
  readonly rows: string;
  readonly kept: boolean;
  readonly reason: string;
}

export const DECISIONS: readonly Decision[] = [
  { rows: 'account', kept: true, reason: 'the identity, and the password towards the server' },
  { rows: 'contact/', kept: true, reason: 'who they are, and whom we block' },
  { rows: 'identity/', kept: true, reason: 'trust: without it every key would be believed anew' },
  { rows: 'exposure/', kept: true, reason: 'which of our messages were read by someone else' },
  {
    rows: 'peer/',
    kept: true,
    reason: 'device lists, tags and profile keys; the sessions with them are not in it',
  },
  { rows: 'state/', kept: true, reason: 'what plugins keep' },
  {
    rows: 'volatile/',
    kept: false,
    reason: 'nonces and steps of protocol runs, which an old and a new process must not both use',
  },
  {
    rows: 'inbox/',
    kept: true,
    reason: 'messages that were acked and wait for their handler: nobody sends them again',
  },
  { rows: 'dead/', kept: true, reason: 'messages that wait for a human' },
  { rows: 'quarantine/', kept: true, reason: 'envelopes to look at; they are not opened again' },
  {
    rows: 'parked/',
    kept: true,
    reason: 'envelopes that wait for trust; what cannot be opened then is asked for again',
  },
  {
    rows: 'outbox/',
    kept: true,
    reason: 'contents, encrypted anew when they are sent; recipients drop what they have, by its timestamp',
  },
  { rows: 'sent/', kept: true, reason: 'answers the retry requests of peers who cannot open what we sent' },
  { rows: 'receipt/', kept: true, reason: 'receipts that we owe; a second one does no harm' },
  {
    rows: 'syncrequest/',
    kept: true,
    reason: 'what our other devices asked for; a second answer does no harm',
  },
  {
    rows: 'seen/',
    kept: true,
    reason: 'an envelope that was stored and not acked comes again, and peers send again what we ask for',
  },
  {
    rows: 'fact/',
    kept: true,
    reason:
      'the last timestamp, the certificate, a contact list to fetch; no fact says where a ratchet stands',
  },
  { rows: 'session/', kept: false, reason: 'a ratchet that is rolled back uses message keys a second time' },
  { rows: 'carrier/', kept: false, reason: 'ratchets too' },
  { rows: 'carrierstate/', kept: false, reason: 'the runs that had a carrier are over' },
  { rows: 'senderkey/', kept: false, reason: 'a ratchet' },
  {
    rows: 'prekey/',
    kept: false,
    reason: 'the old process may have used them since; all are made anew, signed and last-resort keys too',
  },
  { rows: 'prekeystate/', kept: false, reason: 'ids start anew at random, so that no id names two keys' },
  { rows: 'kyberuse/', kept: false, reason: 'uses of last-resort keys that are not kept' },
  {
    rows: 'link/pending',
    kept: false,
    reason: 'a registration under way belongs to the process that began it',
  },
  { rows: 'register/pending', kept: false, reason: 'as a link that is under way' },
];

/** Facts of this very store (where it comes from, whether a bot runs on it), and not what the account knows. */
const OWN_FACTS: ReadonlySet<string> = new Set(['fact/restored', 'fact/dispatching']);

/** Whether a backup holds the row of this key; a key of no table is not kept. */
export function isKept(key: string): boolean {
  if (OWN_FACTS.has(key)) return false;
  const found = DECISIONS.find(({ rows }) => (rows.endsWith('/') ? key.startsWith(rows) : key === rows));
  return found?.kept === true;
}
