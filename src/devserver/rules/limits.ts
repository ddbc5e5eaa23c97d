/**
 * Rate limits as leaky buckets (protocol brief, section 1.9); off unless a test turns them on.
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
  allocateDevice: { burst: 6, refillMs: 120_000 },
  registration: { burst: 6, refillMs: 30_000 },
  captcha: { burst: 10, refillMs: 30_000 },
  waitForDevice: { burst: 10, refillMs: 30_000 },
} as const satisfies Record<string, Bucket>;

const levels = new WeakMap<ServerState, Map<string, { left: number; at: number }>>();

/** @returns seconds to wait when the bucket is empty */
export function takeToken(state: ServerState, name: keyof typeof BUCKETS, key: string): number | undefined {
  const { burst, refillMs } = BUCKETS[name];
  const all = levels.get(state) ?? new Map<string, { left: number; at: number }>();
  levels.set(state, all);
  const now = state.clock.now();
  const level = all.get(`${name} ${key}`) ?? { left: burst, at: now };
  const left = Math.min(burst, level.left + (now - level.at) / refillMs);
  if (left < 1) return Math.max(1, Math.ceil(((1 - left) * refillMs) / 1000));
  all.set(`${name} ${key}`, { left: left - 1, at: now });
  return undefined;
}

/** @throws Refusal 429 */
export function limitRate({ state }: Call, name: keyof typeof BUCKETS, key: string): void {
  if (!state.faults.rateLimits) return;
  const retryAfter = takeToken(state, name, key);
  if (retryAfter !== undefined) throw new Refusal(429, undefined, { 'Retry-After': String(retryAfter) });
}
