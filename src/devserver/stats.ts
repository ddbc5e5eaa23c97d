/**
 * Counters for GET /stats.
 */
export interface StatsReport {
  readonly sockets: {
    readonly authenticated: number;
    readonly anonymous: number;
    readonly provisioning: number;
  };
  /** By verb and path, ids replaced: `PUT /v1/messages/:id`. */
  readonly requests: Readonly<Record<string, number>>;
  /** Answers of chat sockets that refused something, with their status: `PUT /v1/messages/:id 409`. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Sends that were accepted. */
  readonly sends: number;
  /** Single messages that were routed to a device, receipts included. */
  readonly mails: number;
  /** Frames with an envelope, repetitions included. */
  readonly deliveries: number;
  readonly acks: number;
  /** Messages that wait for linked devices, sent and unanswered ones included. */
  readonly queued: number;
  /** Devices of all accounts, phones included. */
  readonly devices: number;
}

export type SocketKind = keyof StatsReport['sockets'];

/** Different requests that are told apart. */
const MAX_KEYS = 500;

export class Stats {
  sends = 0;
  mails = 0;
  deliveries = 0;
  acks = 0;
  readonly sockets: Record<SocketKind, number> = { authenticated: 0, anonymous: 0, provisioning: 0 };
  readonly #requests = new Map<string, number>();
  readonly #refusals = new Map<string, number>();

  countRequest(verb: string, path: string): void {
    count(this.#requests, `${verb} ${template(path)}`);
  }

  /** @param status counted from 400 */
  countAnswer(verb: string, path: string, status: number): void {
    if (status >= 400) count(this.#refusals, `${verb} ${template(path)} ${String(status)}`);
  }

  report(rest: { queued: number; devices: number }): StatsReport {
    const { sends, mails, deliveries, acks } = this;
    return {
      sockets: { ...this.sockets },
      requests: sorted(this.#requests),
      refusals: sorted(this.#refusals),
      sends,
      mails,
      deliveries,
      acks,
      ...rest,
    };
  }
}

function count(counts: Map<string, number>, key: string): void {
  if (counts.size < MAX_KEYS || counts.has(key)) counts.set(key, (counts.get(key) ?? 0) + 1);
}

function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function template(path: string): string {
  const bare = path.split('?', 1)[0] ?? '';
  return bare
    .replace(/\/(?:PNI(?::|%3A))?[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}/g, '/:id')
    .replace(/\/[A-Za-z0-9_-]{22}(?:==|%3D%3D)|\/[A-Za-z0-9_-]{43}(?=$)/gi, '/:id')
    .replace(/\/\d+(?=\/|$)/g, '/:n');
}
