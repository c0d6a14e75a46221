// One image after another from each of CLIENTS clients, for DURATION, as `make load_test` and locustfile.py do.
// By hand: k6 run --no-usage-report -e URL=http://127.0.0.1:8000/predict -e IMAGES=FOLDER -e COUNT=16 deploy/load/predict.js
// FIELD=name sends a form, as LitServe and BentoML want it, else the image is the body. OBEY=no asks again at once
// where a client should wait as Retry-After says, and a little longer by chance.
import { sleep } from 'k6';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';

const clients = Number(__ENV.CLIENTS || 8);
// Each client has files of its own and takes them in turn, so that a window holds no picture twice.
const count = Number(__ENV.COUNT);
const names = Array.from({ length: count }, (_, number) => `${__ENV.IMAGES}/${number}.jpg`);
const images = names.filter((_, number) => __VU === 0 || number % clients === (__VU - 1) % Math.min(clients, count))
  .map((name) => open(name, 'b'));
const answered = new Counter('answered');
const refused = new Counter('refused');
const failed = new Counter('failed');
const milliseconds = new Trend('answer_ms');

export const options = {
  vus: clients,
  duration: __ENV.DURATION || '10s',
  thresholds: { failed: ['count==0'], answered: ['count>0'] },
  summaryTrendStats: ['med', 'p(90)', 'p(99)', 'max'],
};

// Every image is another file, as from a camera: behind its end stand a few bytes that no decoder reads. Else the
// service would log it as a repetition, and never come to judge a window.
function another() {
  const image = images[__ITER % images.length];
  const file = new Uint8Array(image.byteLength + 8);
  file.set(new Uint8Array(image));
  new DataView(file.buffer).setFloat64(image.byteLength, Math.random());
  return file.buffer;
}

export default function () {
  const image = another();
  const body = __ENV.FIELD ? { [__ENV.FIELD]: http.file(image, 'image.jpg', 'image/jpeg') } : image;
  const headers = __ENV.FIELD ? {} : { 'Content-Type': 'application/octet-stream' };
  const said = http.post(__ENV.URL, body, { headers });
  if (said.status === 200) {
    answered.add(1);
    milliseconds.add(said.timings.duration);
  } else if (said.status === 503 || said.status === 429) {
    refused.add(1);
    if (__ENV.OBEY !== 'no') {
      sleep(Number(said.headers['Retry-After'] || 1) * (1 + Math.random()));
    }
  } else {
    failed.add(1);
  }
}

export function handleSummary(data) {
  const of = (name) => (data.metrics[name] ? data.metrics[name].values : {});
  const found = { clients, answered: of('answered').count || 0, refused: of('refused').count || 0,
    failed: of('failed').count || 0, seconds: data.state.testRunDurationMs / 1000, answer_ms: of('answer_ms') };
  const shown = JSON.stringify(found, null, 1) + '\n';
  return __ENV.SUMMARY ? { [__ENV.SUMMARY]: shown } : { stdout: shown };
}
