/**
 * Inline handlers: those of a bot that were registered without a plugin around them.
 */
import { PERMISSIONS } from './check-plugin.ts';
import type { Handlers, Plugin, TextArguments } from './contract.ts';
import type { AppFields, AppType, Filter, Handler, HandlerOptions, TextFields } from '../router.ts';

/** Collects handlers until they are installed as one plugin. */
export class InlineHandlers implements Handlers {
  readonly #calls: ((host: Handlers) => void)[] = [];

  text(...args: TextArguments): void {
    this.#calls.push((host) => {
      host.text(...(args as [Handler<TextFields>]));
    });
  }

  command(...args: Parameters<Handlers['command']>): void {
    this.#calls.push((host) => {
      host.command(...args);
    });
  }

  app<T>(type: AppType<T>, handler: Handler<AppFields<T>>, options?: HandlerOptions<AppFields<T>>): void {
    this.#calls.push((host) => {
      host.app(type, handler, options);
    });
  }

  receipt(...args: Parameters<Handlers['receipt']>): void {
    this.#calls.push((host) => {
      host.receipt(...args);
    });
  }

  typing(...args: Parameters<Handlers['typing']>): void {
    this.#calls.push((host) => {
      host.typing(...args);
    });
  }

  sync(...args: Parameters<Handlers['sync']>): void {
    this.#calls.push((host) => {
      host.sync(...args);
    });
  }

  other(...args: Parameters<Handlers['other']>): void {
    this.#calls.push((host) => {
      host.other(...args);
    });
  }

  on<F extends object>(filter: Filter<F>, handler: Handler<F>, options?: HandlerOptions<F>): void {
    this.#calls.push((host) => {
      host.on(filter, handler, options);
    });
  }

  /** With all permissions: the code that holds the bot can do everything anyway. */
  plugin(name: string, version: string): Plugin {
    return {
      name,
      version,
      permissions: PERMISSIONS,
      setup: (host) => {
        for (const call of this.#calls) call(host);
      },
    };
  }
}
