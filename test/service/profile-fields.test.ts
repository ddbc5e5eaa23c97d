import { expect, it } from 'vitest';
import { unknownFields } from '../../src/service/profile-fields.ts';

it('finds nothing in a profile whose fields are all read', () => {
  const profile = {
    name: 'x',
    chat: 'https://chat.example.org',
    cdn: { 0: 'https://a.example', 2: 'https://b.example', 3: 'https://c.example' },
    storage: 'https://s.example',
    ca: 'ca.pem',
    serverPublicParams: 'AA==',
    sealedSender: { trustRoots: [], mode: 'off' },
  };
  expect(unknownFields(JSON.stringify(profile))).toEqual([]);
  expect(unknownFields('{ not json')).toEqual([]);
  expect(unknownFields('null')).toEqual([]);
});

it('gives name, line and the known field beside it that is near, if there is one', () => {
  const text =
    '{\n "chat": "x",\n "sealedSender": {\n  "Mode": 1,\n  "trustRoot": 2\n },\n "ca-file": 3,\n "CA": 4\n}';
  expect(unknownFields(text)).toEqual([
    { name: 'ca-file', line: 7, meant: undefined },
    { name: 'CA', line: 8, meant: 'ca' },
    { name: 'sealedSender.Mode', line: 4, meant: 'mode' },
    { name: 'sealedSender.trustRoot', line: 5, meant: 'trustRoots' },
  ]);
});
