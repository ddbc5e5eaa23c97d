/** Commands in memory: started, stopped as Ctrl-C does, or run to their end. */
import { main } from '../../src/cli/main.ts';
import { memoryIo, type MemoryIo } from './memory-io.ts';

export type World = NonNullable<Parameters<typeof memoryIo>[0]>;

/** A command under way. */
export interface Command {
  readonly io: MemoryIo;
  /** The exit code, once it has ended. */
  readonly code: Promise<number>;
  /** As Ctrl-C does. @returns the exit code */
  stop(): Promise<number>;
}

/** A command that has ended. */
export interface Ended {
  readonly code: number;
  /** The last line of stdout. */
  readonly value: Record<string, unknown>;
  readonly io: MemoryIo;
}

export function startCommand(argv: readonly string[], world: World): Command {
  const io = memoryIo(world);
  const code = main(argv, io);
  const stop = (): Promise<number> => {
    io.stop.abort();
    return code;
  };
  return { io, code, stop };
}

/** With `--json`. */
export function startJson(argv: readonly string[], world: World): Command {
  return startCommand([...argv, '--json'], world);
}

/** With `--json`, to its end. */
export async function runJson(argv: readonly string[], world: World): Promise<Ended> {
  const { io, code } = startJson(argv, world);
  return { code: await code, value: io.lines().at(-1) ?? {}, io };
}
