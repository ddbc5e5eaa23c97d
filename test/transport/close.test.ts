import { describe, expect, it } from 'vitest';
import { BotError } from '../../src/errors.ts';
import { judge, upgradeError, type Circumstance, type Ending } from '../../src/transport/close.ts';

const closed = (code: number, circumstance: Circumstance = 'none', by: 'us' | 'them' = 'them'): Ending => ({
  kind: 'closed',
  close: { code, reason: '', by },
  circumstance,
});
const refused = (status: number, authenticated = true): Ending => ({
  kind: 'not-opened',
  error: upgradeError(status, authenticated),
});
const untrusted: Ending = { kind: 'not-opened', error: new BotError('TLS_UNTRUSTED', 'x') };
const unreachable: Ending = { kind: 'not-opened', error: new BotError('SERVER_UNREACHABLE', 'x') };

/** ending, suspected before, authenticated -> verdict (with code), suspected after */
const TABLE: [string, Ending, boolean, boolean, string, boolean][] = [
  ['an ordinary close', closed(1000), false, true, 'soon', false],
  ['an ordinary close keeps a suspicion', closed(1000), true, true, 'soon', true],
  [
    '1000 in place of a keepalive answer: deaf',
    closed(1000, 'keepalive-pending'),
    false,
    true,
    'at-once',
    false,
  ],
  ['going away, or idle', closed(1001), false, true, 'backoff SERVER_UNREACHABLE', false],
  ['a lost connection', closed(1006), false, true, 'backoff SERVER_UNREACHABLE', false],
  [
    'a lost connection while a keepalive is out',
    closed(1006, 'keepalive-pending'),
    false,
    true,
    'backoff SERVER_UNREACHABLE',
    false,
  ],
  ['a malformed frame', closed(1007), false, true, 'backoff SERVER_UNREACHABLE', false],
  ['our own 1007', closed(1007, 'none', 'us'), false, true, 'backoff SERVER_UNREACHABLE', false],
  ['too large a frame', closed(1009), false, true, 'backoff SERVER_UNREACHABLE', false],
  ['server trouble', closed(1011), false, true, 'backoff SERVER_UNREACHABLE', false],
  ['the mock refuses credentials', closed(3000), false, true, 'soon', true],
  ['the mock refuses them again', closed(3000), true, true, 'stop DEVICE_UNLINKED', false],
  ['3000 without credentials', closed(3000), false, false, 'backoff SERVER_UNREACHABLE', false],
  ['connected elsewhere', closed(4409), false, true, 'stop CONNECTED_ELSEWHERE', false],
  [
    'connected elsewhere while we close',
    closed(4409, 'replaced', 'us'),
    false,
    true,
    'stop CONNECTED_ELSEWHERE',
    false,
  ],
  ['reauthentication required', closed(4401), false, true, 'soon', true],
  ['connected elsewhere after 4401: perhaps a new primary', closed(4409), true, true, 'soon', true],
  ['reauthentication required again', closed(4401), true, true, 'backoff SERVER_UNREACHABLE', true],
  ['4401 without credentials', closed(4401), false, false, 'backoff SERVER_UNREACHABLE', false],
  ['an unknown 4xxx', closed(4508), false, true, 'stop REQUEST_REFUSED', false],
  ['an unknown 4xxx without credentials', closed(4508), false, false, 'backoff SERVER_UNREACHABLE', false],
  ['4409 without credentials', closed(4409), false, false, 'backoff SERVER_UNREACHABLE', false],
  ['no answer to a keepalive', closed(1006, 'dead', 'us'), false, true, 'backoff SERVER_UNREACHABLE', false],
  ['replaced by us', closed(1000, 'replaced', 'us'), false, true, 'at-once', false],
  ['a delivery abandoned', closed(1000, 'abandoned', 'us'), false, true, 'soon', false],
  ['upgrade 403', refused(403), false, true, 'soon', true],
  ['upgrade 403 confirmed', refused(403), true, true, 'stop DEVICE_UNLINKED', false],
  ['upgrade 403 without credentials', refused(403, false), false, false, 'backoff SERVER_UNREACHABLE', false],
  ['upgrade 499', refused(499), false, true, 'soon', true],
  ['upgrade 499 confirmed', refused(499), true, true, 'stop CLIENT_OUTDATED', false],
  ['upgrade 404', refused(404), false, true, 'backoff SERVER_UNREACHABLE', false],
  ['upgrade 429', refused(429), false, true, 'backoff RATE_LIMITED', false],
  ['upgrade 500 keeps a suspicion', refused(500), true, true, 'backoff SERVER_UNREACHABLE', true],
  ['upgrade 503', refused(503), false, true, 'backoff SERVER_UNREACHABLE', false],
  ['upgrade 508', refused(508), false, true, 'stop REQUEST_REFUSED', false],
  ['an untrusted certificate', untrusted, false, true, 'stop TLS_UNTRUSTED', false],
  ['no connection', unreachable, true, true, 'backoff SERVER_UNREACHABLE', true],
];

describe('judge', () => {
  it.each(TABLE)('knows what to do after %s', (_name, ending, before, authenticated, expected, after) => {
    const { verdict, suspected } = judge(ending, before, authenticated);
    const code = verdict.kind === 'backoff' || verdict.kind === 'stop' ? ` ${verdict.error.code}` : '';
    expect([verdict.kind + code, suspected]).toEqual([expected, after]);
  });

  it('says in the error of an unlinked device that its data was kept', () => {
    expect(upgradeError(403, true).message).toContain('data was kept');
  });
});
