import { describe } from 'vitest';
import { incastScenarios } from '../support/incast-scenarios.ts';

describe('incast', () => {
  incastScenarios(0.85, 0.8);
});
