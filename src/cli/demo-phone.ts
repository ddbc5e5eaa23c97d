/**
 * A phone of the development server, as its control API offers it (decisions, CLI contract).
 */
import { z } from 'zod';
import { BotError } from '../errors.ts';

const createdSchema = z.object({ aci: z.string(), number: z.string() });
const messagesSchema = z.array(
  z.object({
    from: z.string().nullable(),
    device: z.number().nullable(),
    kind: z.string(),
    text: z.string().optional(),
    timestamp: z.number(),
  }),
);

export type PhoneMessage = z.infer<typeof messagesSchema>[number];

export class DemoPhone {
  readonly aci: string;
  readonly number: string;
  readonly #control: string;
  readonly #signal: AbortSignal;

  private constructor(control: string, created: z.infer<typeof createdSchema>, signal: AbortSignal) {
    this.#control = control;
    this.#signal = signal;
    this.aci = created.aci;
    this.number = created.number;
  }

  /** Makes an account, and its phone. @param control URL of the control API */
  static async create(control: string, name: string, signal: AbortSignal): Promise<DemoPhone> {
    const created = createdSchema.parse(await call(`${control}/phones`, { name }, signal));
    return new DemoPhone(control, created, signal);
  }

  /** Holds the phone's camera to a code. */
  async scan(url: string): Promise<void> {
    await call(`${this.#control}/phones/${this.aci}/link`, { url }, this.#signal);
  }

  async write(to: DemoPhone, text: string): Promise<void> {
    await call(`${this.#control}/phones/${this.aci}/send`, { to: to.aci, text }, this.#signal);
  }

  /** All that this phone has received; waits until there is one that `wanted` takes. @throws BotError `REQUEST_TIMEOUT` */
  async messages(wanted: (message: PhoneMessage) => boolean = () => true): Promise<PhoneMessage[]> {
    const deadline = Date.now() + 10_000;
    for (let count = 1; ;) {
      const waitMs = Math.max(0, deadline - Date.now());
      const path = `/phones/${this.aci}/messages?waitMs=${String(waitMs)}&count=${String(count)}`;
      const found = messagesSchema.parse(await call(`${this.#control}${path}`, undefined, this.#signal));
      if (found.some(wanted)) return found;
      if (waitMs === 0) throw new BotError('REQUEST_TIMEOUT', 'the phone did not get what it waited for');
      count = found.length + 1;
    }
  }
}

async function call(url: string, body: object | undefined, signal: AbortSignal): Promise<unknown> {
  const request =
    body === undefined
      ? {}
      : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(url, { ...request, signal });
  const text = await response.text();
  if (!response.ok)
    throw new BotError(
      'REQUEST_REFUSED',
      `the development server answered ${String(response.status)}: ${text}`,
    );
  return text === '' ? undefined : JSON.parse(text);
}
