import { MemoryDisk, openMemory } from '../../src/store/memory.ts';
import { storeConformance } from './conformance.ts';

storeConformance('the memory store', () => {
  const disk = new MemoryDisk();
  return Promise.resolve({ open: () => Promise.resolve(openMemory(disk)), remove: () => Promise.resolve() });
});
