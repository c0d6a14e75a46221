// One clip after another from each of VUS clients, for DURATION:
//   k6 run --no-usage-report -e NPZ_PATH=clip.npz -e APP_URL=http://127.0.0.1:8000 -e VUS=4 -e DURATION=30s deploy/load/clips.js
// NPZ_PATH may as well be an .mp4 or .webm. A client that is told to come again does so as Retry-After says.
import { sleep } from 'k6';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';

const clip = open(__ENV.NPZ_PATH, 'b');
const address = `${(__ENV.APP_URL || 'http://127.0.0.1:8000').replace(/\/+$/, '')}/predict`;
const answered = new Counter('answered');
const refused = new Counter('refused');
const failed = new Counter('failed');
const milliseconds = new Trend('answer_ms');

export const options = {
  vus: Number(__ENV.VUS || 2),
  duration: __ENV.DURATION || '10s',
  thresholds: { failed: ['count==0'], answered: ['count>0'] },
  summaryTrendStats: ['med', 'p(90)', 'p(99)', 'max'],
};

export default function () {
  const said = http.post(address, clip, { headers: { 'Content-Type': 'application/octet-stream' } });
  if (said.status === 200) {
    answered.add(1);
    milliseconds.add(said.timings.duration);
  } else if (said.status === 503) {
    refused.add(1);
    sleep(Number(said.headers['Retry-After'] || 1) * (1 + Math.random()));
  } else {
    failed.add(1);
  }
}

export function handleSummary(data) {
  const of = (name) => (data.metrics[name] ? data.metrics[name].values : {});
  const found = { answered: of('answered').count || 0, refused: of('refused').count || 0, failed: of('failed').count || 0,
    seconds: data.state.testRunDurationMs / 1000, answer_ms: of('answer_ms') };
  const shown = JSON.stringify(found, null, 1) + '\n';
  return __ENV.SUMMARY ? { [__ENV.SUMMARY]: shown } : { stdout: shown };
}
