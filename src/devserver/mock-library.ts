/**
 * Loads @signalapp/mock-server, a development dependency, only when a development server is really started.
 *
 * The package is CommonJS, brings its own libsignal (only bytes may be passed between the two copies) and uses
 * `Promise.withResolvers`, which Node 20 lacks.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type * as MockServer from '@signalapp/mock-server';
import { BotError } from '../errors.ts';

export type Library = typeof MockServer;

export interface LoadedLibrary {
  readonly library: Library;
  /** PEM: certificate chain and key that the mock listens with, valid for localhost, 127.0.0.1 and ::1. */
  readonly cert: string;
  readonly key: string;
  /** PEM */
  readonly certificateAuthority: string;
  /** base64 */
  readonly serverPublicParams: string;
  /** base64, 33 bytes each */
  readonly trustRoots: readonly string[];
}

const NAME = '@signalapp/mock-server';

/**
 * @param require looks the package up; from here if unsaid
 * @throws BotError `DEVSERVER_MISSING` when the package is not installed
 */
export async function loadLibrary(
  require: NodeJS.Require = createRequire(import.meta.url),
): Promise<LoadedLibrary> {
  const root = dirname(find(require));
  polyfillWithResolvers();
  const library = require(NAME) as Library;
  const [cert, key, certificates] = await Promise.all([
    readFile(join(root, 'certs', 'full-cert.pem'), 'utf8'),
    readFile(join(root, 'certs', 'key.pem'), 'utf8'),
    library.loadCertificates(),
  ]);
  return {
    library,
    cert,
    key,
    certificateAuthority: certificates.certificateAuthority,
    serverPublicParams: certificates.serverPublicParams,
    trustRoots: certificates.serverTrustRoots,
  };
}

function find(require: NodeJS.Require): string {
  try {
    return require.resolve(`${NAME}/package.json`);
  } catch (cause) {
    throw new BotError('DEVSERVER_MISSING', `${NAME} is not installed`, { cause });
  }
}

interface Resolvers<T> {
  promise: Promise<T>;
  resolve: (value: T | PromiseLike<T>) => void;
  reject: (reason?: unknown) => void;
}

function polyfillWithResolvers(): void {
  const target = Promise as unknown as { withResolvers?: <T>() => Resolvers<T> };
  target.withResolvers ??= <T>(): Resolvers<T> => {
    let resolve: Resolvers<T>['resolve'] = () => undefined;
    let reject: Resolvers<T>['reject'] = () => undefined;
    const promise = new Promise<T>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    return { promise, resolve, reject };
  };
}
