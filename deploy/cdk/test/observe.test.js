const assert = require('node:assert/strict');
const test = require('node:test');
const sns = require('aws-cdk-lib/aws-sns');
const { ObserveConstruct } = require('..');
const { pair, listener, template } = require('./stage');

function alarms({ accessLog = false, attached = true, ...props } = {}) {
  const { stack, service } = pair((stack, vpc) => ({
    accessLog, httpsListener: attached ? listener(stack, vpc) : undefined,
  }));
  const topic = new sns.Topic(stack, 'Pager');
  const observe = new ObserveConstruct(stack, 'Observe', { router: service, topic, ...props });
  const of = template(stack);
  const made = Object.entries(of.findResources('AWS::CloudWatch::Alarm'));
  return { of, observe, made: made.map(([id, it]) => [id.replace(/^Observe|[0-9A-F]{8}$/g, ''), it.Properties]) };
}
const names = ({ made }) => made.map(([name]) => name).sort();

test('what Lambda, ECS and the load balancer measure is watched', () => {
  const it = alarms();
  assert.deepEqual(names(it), ['Errors', 'FailedInvokes', 'InvokeRate', 'ResponseTime', 'RouterCpu', 'Throttles']);
  for (const [name, alarm] of it.made) {
    assert.equal(alarm.AlarmActions.length, 1, name);
    assert.equal(alarm.TreatMissingData, 'notBreaching', name);
  }
  it.of.resourceCountIs('AWS::CloudWatch::Dashboard', 1);
});

test('without a load balancer there is nothing to ask it', () => {
  assert.deepEqual(names(alarms({ attached: false })), ['FailedInvokes', 'InvokeRate', 'RouterCpu', 'Throttles']);
});

test('with an access log the queue and cold starts are watched', () => {
  const it = alarms({ accessLog: true });
  assert.ok(names(it).includes('QueueTimeAlarm') && names(it).includes('ColdExposedAlarm'));
  const filters = Object.values(it.of.findResources('AWS::Logs::MetricFilter')).map((f) => f.Properties);
  assert.deepEqual(
    filters.map((f) => [f.FilterPattern, f.MetricTransformations[0].MetricValue]),
    [['{ $.queue_ms >= 0 }', '$.queue_ms'], ['{ $.cold_exposed IS TRUE }', '1']]);
});

test('a budget is an alarm on what Lambda reports', () => {
  const [, budget] = alarms({ budgetPerHour: 5, memorySize: 1024 }).made.find(([name]) => name === 'Budget');
  assert.equal(budget.Threshold, 5);
  assert.equal(budget.Metrics[0].Expression, 'duration / 1000 * 1 * 0.0000133334 + invokes * 0.0000002');
});
