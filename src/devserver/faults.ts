/**
 * Faults that tests order: each matches requests (or deliveries, or upgrades) by verb, path and account, and counts down.
 *
 * | action | a request of the client | a delivery to the client (`/api/v1/message`) | an upgrade (`/v1/websocket/`) |
 * |---|---|---|---|
 * | status | answered so, never carried out | - | refused so |
 * | close | the socket closes with the code, not carried out | closes in place of delivering | accepted, then closed |
 * | drop | carried out, the answer is lost | not sent on this socket, comes again on the next | never answered |
 * | duplicate | carried out twice, answered once | sent twice | - |
 * | reorder | waits for the next request on its socket | changes places with the next one | - |
 * | delayMs | waits first | waits first, as do those after it | waits first |
 */
import { z } from 'zod';
import { toBase64 } from '../bytes.ts';

const ACTION = z.union([
  z.strictObject({
    status: z.int().min(200).max(599),
    retryAfter: z.int().min(0).optional(),
    /** JSON of the answer, in place of the usual one for the status. */
    body: z.json().optional(),
  }),
  z.strictObject({ close: z.int().min(1000).max(4999) }),
  z.strictObject({ drop: z.literal(true) }),
  z.strictObject({ duplicate: z.literal(true) }),
  z.strictObject({ reorder: z.literal(true) }),
  z.strictObject({ delayMs: z.int().min(0).max(3_600_000) }),
]);

/**
 * What the control API takes; `path` matches as the beginning of the path, query included. Without a path only requests of
 * the client match, no deliveries and no upgrades.
 */
export const FAULT = z.strictObject({
  verb: z.string().optional(),
  path: z.string().optional(),
  /** Account of the socket; on an anonymous one, the account that the path names. */
  aci: z.string().optional(),
  count: z.int().min(1).default(1),
  action: ACTION,
});

export type FaultAction = z.infer<typeof ACTION>;
export type Fault = z.input<typeof FAULT>;

export interface FaultSubject {
  readonly kind: 'request' | 'delivery' | 'upgrade';
  readonly verb: string;
  readonly path: string;
  readonly aci: string | undefined;
}

export class Faults {
  #list: z.output<typeof FAULT>[] = [];
  /** The buckets of 1.9. */
  rateLimits = false;

  /** @throws ZodError when it is no fault */
  add(fault: Fault): void {
    this.#list.push(FAULT.parse(fault));
  }

  clear(): void {
    this.#list = [];
    this.rateLimits = false;
  }

  get list(): readonly Fault[] {
    return this.#list;
  }

  /** The first fault that matches, counted down. */
  take(subject: FaultSubject): FaultAction | undefined {
    const found = this.#list.find((fault) => matches(fault, subject));
    if (found === undefined) return undefined;
    found.count -= 1;
    if (found.count === 0) this.#list = this.#list.filter((fault) => fault !== found);
    return found.action;
  }
}

function matches(fault: z.output<typeof FAULT>, { kind, verb, path, aci }: FaultSubject): boolean {
  if (fault.path === undefined && kind !== 'request') return false;
  if (kind === 'delivery' && 'status' in fault.action) return false;
  if (fault.verb !== undefined && fault.verb.toUpperCase() !== verb) return false;
  if (fault.path !== undefined && !path.startsWith(fault.path)) return false;
  if (fault.aci === undefined) return true;
  return aci === undefined ? path.includes(fault.aci) : aci === fault.aci;
}

/** Answers that say nothing without a body (2.5, 5.4). */
export function faultBody(action: Extract<FaultAction, { status: number }>): unknown {
  if (action.body !== undefined) return action.body;
  if (action.status === 411) return { current: 6, max: 6 };
  if (action.status === 413) return { code: 413, message: 'HTTP 413 Request Entity Too Large' };
  if (action.status === 428) return { token: toBase64(Uint8Array.of(1, 2, 3)), options: ['captcha'] };
  return undefined;
}
