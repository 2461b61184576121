// SPDX-License-Identifier: GPL-3.0-or-later
//
// A round trip by MQTT.js: two clients, three QoS, a will, a retained message.
// Usage: node round_trip.js PORT VERSION; prints "complete" and exits 0.
'use strict';

const mqtt = require('mqtt');

const [port, version] = process.argv.slice(2).map(Number);
const count = 30;

function client(options) {
  return mqtt.connectAsync({
    host: '127.0.0.1', port, protocol: 'mqtt', protocolVersion: version, reconnectPeriod: 0,
    ...options,
  });
}

// Collects what arrives and hands it out one at a time.
function inbox(from) {
  const waiting = [];
  const wanted = [];
  from.on('message', (topic, payload, packet) => {
    const one = { topic, payload: payload.toString(), qos: packet.qos, packet };
    if (wanted.length > 0) wanted.shift()(one);
    else waiting.push(one);
  });
  return () => (waiting.length > 0 ? Promise.resolve(waiting.shift())
    : new Promise((resolve) => { wanted.push(resolve); }));
}

function check(holds, words) {
  if (!holds) throw new Error(words);
}

async function main() {
  const receiver = await client({ clientId: 'receiver' });
  const next = inbox(receiver);
  await receiver.subscribeAsync('js/#', { qos: 2 });

  const sender = await client({
    clientId: 'sender', will: { topic: 'js/will', payload: 'gone', qos: 1 },
  });
  for (let number = 0; number < count; number += 1) {
    await sender.publishAsync(`js/${number}`, `message ${number}`, {
      qos: number % 3,
      properties: version === 5 ? { userProperties: { order: ['b', 'a', 'b'] } } : undefined,
    });
  }
  const found = new Map();
  for (let number = 0; number < count; number += 1) {
    const one = await next();
    found.set(one.topic, one);
  }
  for (let number = 0; number < count; number += 1) {
    const one = found.get(`js/${number}`);
    check(one && one.payload === `message ${number}`, `message ${number} is missing`);
    check(one.qos === number % 3, `message ${number} came at QoS ${one.qos}`);
    if (version === 5) {
      const order = one.packet.properties.userProperties.order;
      check(String(order) === 'b,a,b', `user properties came as ${order}`);
    }
  }

  await sender.publishAsync('js/kept', 'kept', { qos: 1, retain: true });
  check((await next()).payload === 'kept', 'the live message is missing');
  const late = await client({ clientId: 'late' });
  const lateNext = inbox(late);
  await late.subscribeAsync('js/kept', { qos: 1 });
  check((await lateNext()).packet.retain, 'the retained message is missing');

  sender.stream.destroy();
  const will = await next();
  check(will.topic === 'js/will' && will.payload === 'gone', 'the will is missing');

  await late.endAsync();
  await receiver.endAsync();
  console.log('complete');
}

setTimeout(() => {
  console.error('not complete in time');
  process.exit(1);
}, 25000).unref();

main().catch((problem) => {
  console.error(problem);
  process.exit(1);
});
