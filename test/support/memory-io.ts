/** A world for the command line that is only memory. */
import { PassThrough } from 'node:stream';
import type { Io } from '../../src/cli/io.ts';

export interface MemoryIo extends Io {
  readonly stop: AbortController;
  /** All of stdout so far. */
  out(): string;
  /** stdout as JSON values, one per line. */
  lines(): Record<string, unknown>[];
  err(): string;
  /** Resolves with the first stdout line, as JSON, that `wanted` takes. */
  line(wanted: (value: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
}

export function memoryIo(
  parts: { env?: Record<string, string>; cwd?: string; stdin?: string; terminal?: boolean } = {},
): MemoryIo {
  const stop = new AbortController();
  const written = { out: '', err: '' };
  const watchers = new Set<() => void>();
  const terminal = parts.terminal === true;
  const stdin = Object.assign(
    new PassThrough(),
    terminal ? { isTTY: true, setRawMode: () => undefined } : {},
  );
  if (!terminal) stdin.end(parts.stdin ?? '');
  else if (parts.stdin !== undefined) stdin.write(parts.stdin);
  const lines = (): Record<string, unknown>[] =>
    written.out
      .split('\n')
      .slice(0, -1)
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  return {
    stop,
    stdin,
    stdout: {
      write: (text) => {
        written.out += textOf(text);
        for (const watcher of [...watchers]) watcher();
      },
    },
    stderr: {
      isTTY: terminal,
      write: (text) => {
        written.err += textOf(text);
      },
    },
    env: parts.env ?? {},
    cwd: parts.cwd ?? process.cwd(),
    signal: stop.signal,
    out: () => written.out,
    err: () => written.err,
    lines,
    line: (wanted) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = lines().find(wanted);
          if (found === undefined) return;
          watchers.delete(look);
          resolve(found);
        };
        watchers.add(look);
        look();
      }),
  };
}

function textOf(data: string | Uint8Array): string {
  return typeof data === 'string' ? data : Buffer.from(data).toString();
}
