import { describe, vi } from 'vitest';
import { incastScenarios } from '../support/incast-scenarios.ts';

vi.mock('../../src/reliability/lan-cubic.ts', async () => {
  const { NewReno } = await import('../../src/reliability/congestion.ts');
  return { LanCubic: NewReno };
});

describe('incast under NewReno, the plain twin', () => {
  incastScenarios(0.75, 0.6);
});
