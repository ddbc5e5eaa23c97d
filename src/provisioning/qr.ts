/**
 * QR: a link, or bytes as they are, as a picture: for a terminal, a PNG file or an SVG file.
 */
import { chmod, writeFile } from 'node:fs/promises';
import qrcode, { type QRCodeSegment } from 'qrcode';
import terminal from 'qrcode-terminal';
import { copy, type Bytes } from '../bytes.ts';
import { BotError, describe } from '../errors.ts';

const MARGIN_MODULES = 4;
const PNG_PIXELS = 512;

/** Half-block characters, so that the code fits an ordinary terminal; ends with a line break. */
export function qrTerminal(url: string): string {
  let text = '';
  terminal.generate(url, { small: true }, (picture) => {
    text = picture;
  });
  return text.endsWith('\n') ? text : `${text}\n`;
}

/** A PNG of 512 pixels a side. */
export async function qrPng(content: string | Bytes): Promise<Bytes> {
  return copy(
    await qrcode.toBuffer(segmentsOf(content), { type: 'png', margin: MARGIN_MODULES, width: PNG_PIXELS }),
  );
}

export async function qrSvg(content: string | Bytes): Promise<string> {
  return qrcode.toString(segmentsOf(content), { type: 'svg', margin: MARGIN_MODULES });
}

/**
 * Writes the code to a file, readable by its owner only: who reads it in time can answer in the phone's place.
 * @param file ends in `.png` or `.svg`
 * @throws BotError `USAGE` for any other ending, or when the file cannot be written
 */
export async function writeQrFile(content: string | Bytes, file: string): Promise<void> {
  const data = qrKindOf(file) === 'png' ? await qrPng(content) : await qrSvg(content);
  try {
    await writeFile(file, data, { mode: 0o600 });
    await chmod(file, 0o600); // there may have been one
  } catch (cause) {
    throw new BotError('USAGE', `the QR code cannot be written: ${describe(cause)}`, {
      cause,
      next: 'Give a file that can be written.',
    });
  }
}

/** How the code is written to a file of this name. @throws BotError `USAGE` */
export function qrKindOf(file: string): 'png' | 'svg' {
  const kind = /\.(png|svg)$/i.exec(file)?.[1]?.toLowerCase();
  if (kind === 'png' || kind === 'svg') return kind;
  throw new BotError('USAGE', 'a QR code is written as .png or .svg', {
    next: 'Give --qr FILE.png or --qr FILE.svg.',
  });
}

function segmentsOf(content: string | Bytes): string | QRCodeSegment[] {
  return typeof content === 'string' ? content : [{ data: content, mode: 'byte' }];
}
