/**
 * Acts: what an operator asks of a plugin, on the command line, while its bot runs. A plugin registers them on its host;
 * the commands that it declares reach them through `SubcommandCall.act`, wherever the bot runs.
 */
import type { ServiceId } from '../address.ts';
import { BotError } from '../errors.ts';

export interface ActCall {
  /** Whom the operator has named; an ACI, a number and a name have been looked up. */
  readonly contact: ServiceId | undefined;
  /** The name that the account's contacts have for them. */
  readonly contactName?: string;
  /** Others whom the operator has named, looked up likewise; absent where the command takes none. */
  readonly contacts?: readonly ServiceId[];
  /** What the command has put together; JSON. */
  readonly input: Readonly<Record<string, unknown>>;
  /** Aborted when the operator does not wait any more, or the bot stops. What was begun goes on by itself. */
  readonly signal: AbortSignal;
  /** Tells the operator what happens meanwhile; JSON. Returns at once and does not throw. */
  tell(event: object): void;
}

/** @returns what the operator is told at the end; JSON. What it throws is printed as every failure is. */
export type Act = (call: ActCall) => Promise<object>;

export class Acts {
  readonly #isLoaded: (plugin: string) => boolean;
  readonly #acts = new Map<string, Map<string, Act>>();

  /** @param isLoaded whether there is such a plugin, be it without acts */
  constructor(isLoaded: (plugin: string) => boolean) {
    this.#isLoaded = isLoaded;
  }

  add(plugin: string, name: string, act: Act): void {
    const acts = this.#acts.get(plugin) ?? new Map<string, Act>();
    this.#acts.set(plugin, acts.set(name, act));
  }

  /** @throws BotError `PLUGIN_NOT_LOADED`, `USAGE` where the plugin has no such act, and what the act throws */
  run(plugin: string, name: string, call: ActCall): Promise<object> {
    const act = this.#acts.get(plugin)?.get(name);
    if (act !== undefined) return act(call);
    if (this.#isLoaded(plugin)) {
      const names = [...(this.#acts.get(plugin)?.keys() ?? [])].sort();
      const next = names.length > 0 ? `It has: ${names.join(', ')}.` : 'It has none.';
      throw new BotError('USAGE', `the plugin ${plugin} has no act ${name}`, { next });
    }
    const next = `Stop the bot and run it with --plugin ${plugin}.`;
    throw new BotError('PLUGIN_NOT_LOADED', `the bot runs without the plugin ${plugin}`, { next });
  }
}
