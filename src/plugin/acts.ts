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
  readonly #acts = new Map<string, Act>();

  add(plugin: string, name: string, act: Act): void {
    this.#acts.set(keyOf(plugin, name), act);
  }

  /** @throws BotError `PLUGIN_NOT_LOADED`, and what the act throws */
  run(plugin: string, name: string, call: ActCall): Promise<object> {
    const act = this.#acts.get(keyOf(plugin, name));
    if (act === undefined) {
      const next = `Stop the bot and run it with --plugin ${plugin}.`;
      throw new BotError('PLUGIN_NOT_LOADED', `the bot runs without the plugin ${plugin}`, { next });
    }
    return act(call);
  }
}

function keyOf(plugin: string, name: string): string {
  return `${plugin} ${name}`;
}
