/**
 * Manifest: what LevelDB's list of changes to its files comes to. Each record of it is a series of numbered fields,
 * varints and lengths as in a protobuf, but without wire types.
 */
import { Reader } from 'protobufjs/minimal.js';
import { walkLog, type LogFault } from './log-walk.ts';

const COMPARATOR = 1;
const LOG_NUMBER = 2;
const NEXT_FILE = 3;
const LAST_SEQUENCE = 4;
const COMPACT_POINTER = 5;
const DELETED_FILE = 6;
const NEW_FILE = 7;
const PREVIOUS_LOG = 9;

/** The files that make up the database. */
export interface Manifest {
  /** The oldest log that counts; its file exists. */
  readonly log: number;
  /** Number of the last write that was known when the last change was listed. */
  readonly sequence: number;
  /** Bytes of each table, by its number. */
  readonly tables: ReadonlyMap<number, number>;
  /** Where it is not whole; what is told above is told without what comes there. */
  readonly fault: LogFault | undefined;
}

/** @returns undefined when a record is not understood */
export function readManifest(file: Uint8Array): Manifest | undefined {
  const tables = new Map<number, number>();
  const numbers = { log: 0, sequence: 0 };
  try {
    const fault = walkLog(file, (record) => {
      readEdit(Reader.create(record), numbers, tables);
    });
    return { ...numbers, tables, fault };
  } catch {
    return undefined; // what reads fields has no error of its own kind
  }
}

function readEdit(
  edit: Reader,
  numbers: { log: number; sequence: number },
  tables: Map<number, number>,
): void {
  while (edit.pos < edit.len) {
    const field = edit.uint32();
    switch (field) {
      case COMPARATOR:
        edit.bytes();
        break;
      case LOG_NUMBER:
        numbers.log = readNumber(edit);
        break;
      case LAST_SEQUENCE:
        numbers.sequence = readNumber(edit);
        break;
      case NEXT_FILE:
      case PREVIOUS_LOG: // for databases of 2011
        readNumber(edit);
        break;
      case COMPACT_POINTER:
        edit.uint32();
        edit.bytes();
        break;
      case DELETED_FILE:
        edit.uint32();
        tables.delete(readNumber(edit));
        break;
      case NEW_FILE: {
        edit.uint32();
        const table = readNumber(edit);
        tables.set(table, readNumber(edit));
        edit.bytes(); // smallest key
        edit.bytes(); // largest key
        break;
      }
      default:
        throw new RangeError(`unknown field ${String(field)}`);
    }
  }
}

function readNumber(edit: Reader): number {
  return Number(edit.uint64());
}
