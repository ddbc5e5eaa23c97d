/**
 * Rate limits as leaky buckets (protocol brief, section 1.9); off unless a test turns them on. What one bucket belongs to is
 * its key: sender and recipient, account, device and target. (The bytes of attachments have none: their refill is not known.)
 */
import type { ServerState } from '../state.ts';
import { Refusal, type Call } from './rule.ts';

interface Bucket {
  readonly burst: number;
  /** Until one comes back, ms. */
  readonly refillMs: number;
}

const BUCKETS = {
  messages: { burst: 60, refillMs: 1000 },
  /** Bytes of content for one recipient. */
  inboundBytes: { burst: 128 * 1024 * 1024, refillMs: 0.5 },
  stories: { burst: 5_000, refillMs: 8_000 },
  keyFetch: { burst: 6, refillMs: 600_000 },
  profile: { burst: 4_320, refillMs: 20_000 },
  attachments: { burst: 50, refillMs: 1_200 },
  storageCredentials: { burst: 100, refillMs: 900_000 },
  verifyDevice: { burst: 6, refillMs: 120_000 },
  allocateDevice: { burst: 6, refillMs: 120_000 },
  registration: { burst: 6, refillMs: 30_000 },
  captcha: { burst: 10, refillMs: 30_000 },
  waitForDevice: { burst: 10, refillMs: 30_000 },
} as const satisfies Record<string, Bucket>;

/** @returns seconds to wait when the bucket has not so many left */
function takeTokens(
  { levels, clock }: ServerState,
  name: keyof typeof BUCKETS,
  key: string,
  count: number,
): number | undefined {
  const { burst, refillMs } = BUCKETS[name];
  const now = clock.now();
  const level = levels.get(`${name} ${key}`) ?? { left: burst, at: now };
  const left = Math.min(burst, level.left + (now - level.at) / refillMs);
  if (left < count) return Math.max(1, Math.ceil(((count - left) * refillMs) / 1000));
  levels.set(`${name} ${key}`, { left: left - count, at: now });
  return undefined;
}

/** @throws Refusal 429, its body empty */
export function limitRate(
  { state }: Pick<Call, 'state'>,
  name: keyof typeof BUCKETS,
  key: string,
  count = 1,
): void {
  if (!state.faults.rateLimits) return;
  const retryAfter = takeTokens(state, name, key, count);
  if (retryAfter !== undefined) throw new Refusal(429, undefined, { 'Retry-After': String(retryAfter) });
}

/** Endpoints whose bucket is the asking account's, and has nothing to do with what is asked. */
const BY_PATH: readonly (readonly [RegExp, keyof typeof BUCKETS])[] = [
  [/^GET \/v4\/attachments\/form\/upload$/, 'attachments'],
  [/^GET \/v1\/storage\/auth$/, 'storageCredentials'],
  [/^GET \/v1\/profile\//, 'profile'],
];

/** @throws Refusal 429 */
export function limitAccount(call: Omit<Call, 'params'>): void {
  if (call.device === undefined) return;
  const found = BY_PATH.find(([path]) => path.test(`${call.verb} ${call.path}`));
  if (found !== undefined) limitRate(call, found[1], call.device.aci);
}
