/** Commands with `--json` in memory: run to their end, or until they are stopped. */
import { main } from '../../src/cli/main.ts';
import { memoryIo, type MemoryIo } from './memory-io.ts';

type World = NonNullable<Parameters<typeof memoryIo>[0]>;

export interface Ended {
  readonly code: number;
  /** The last line. */
  readonly value: Record<string, unknown>;
  readonly io: MemoryIo;
}

export async function runJson(argv: readonly string[], world: World): Promise<Ended> {
  const io = memoryIo(world);
  const code = await main([...argv, '--json'], io);
  return { code, value: io.lines().at(-1) ?? {}, io };
}

/** @returns `stop` as Ctrl-C does, and the exit code */
export function startJson(
  argv: readonly string[],
  world: World,
): { readonly io: MemoryIo; readonly stop: () => Promise<number> } {
  const io = memoryIo(world);
  const code = main([...argv, '--json'], io);
  return {
    io,
    stop: () => {
      io.stop.abort();
      return code;
    },
  };
}
