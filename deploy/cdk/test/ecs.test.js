const assert = require('node:assert/strict');
const test = require('node:test');
const cdk = require('aws-cdk-lib');
const ecs = require('aws-cdk-lib/aws-ecs');
const lambda = require('aws-cdk-lib/aws-lambda');
const ec2 = require('aws-cdk-lib/aws-ec2');
const elbv2 = require('aws-cdk-lib/aws-elasticloadbalancingv2');
const { EcsConstruct, LambdaConstruct } = require('..');
const { stage, pair, listener, template, only, environment, ingress } = require('./stage');

const behind = (stack, vpc) => ({ httpsListener: listener(stack, vpc) });
const containers = (of) => only(of, 'AWS::ECS::TaskDefinition').ContainerDefinitions;
const image = (name) => ecs.ContainerImage.fromRegistry(name);

test('the defaults are those of the original', () => {
  const of = template(pair().stack);
  const task = only(of, 'AWS::ECS::TaskDefinition');
  assert.deepEqual([task.Cpu, task.Memory], ['1024', '2048']);
  assert.equal(task.RuntimePlatform.CpuArchitecture, 'ARM64');
  const scaling = only(of, 'AWS::ApplicationAutoScaling::ScalableTarget');
  assert.deepEqual([scaling.MinCapacity, scaling.MaxCapacity], [1, 10]);
  const policy = only(
    of,
    'AWS::ApplicationAutoScaling::ScalingPolicy',
  ).TargetTrackingScalingPolicyConfiguration;
  assert.deepEqual(
    [policy.TargetValue, policy.PredefinedMetricSpecification.PredefinedMetricType],
    [50, 'ECSServiceAverageCPUUtilization'],
  );
  assert.equal(environment(of).LAMBDA_DISPATCH_POOL_SLOTS, '10');
});

test('an update of the stack leaves the number of tasks to the scaling', () => {
  for (const router of [{}, { minCapacity: 2 }]) {
    const service = only(template(pair(router).stack), 'AWS::ECS::Service');
    assert.ok(!('DesiredCount' in service));
  }
});

test('no demo app is deployed unless asked for', () => {
  assert.deepEqual(
    containers(template(pair(behind).stack)).map((it) => it.Name),
    ['LambdaDispatchRouter'],
  );
  const { stack, service } = pair({ demoAppImage: image('demo') });
  assert.deepEqual(
    containers(template(stack)).map((it) => it.Name),
    ['LambdaDispatchRouter', 'DemoApp'],
  );
  assert.ok(service.targetGroupDemoApp);
});

test('instances reach the router over TLS alone', () => {
  const of = template(pair(behind).stack);
  assert.deepEqual(
    containers(of)[0].PortMappings.map((it) => it.ContainerPort),
    [5001, 5004, 5005],
  );
  assert.doesNotMatch(JSON.stringify(of.toJSON()), /5003|INSECURE|PLAINTEXT|WIRE_V1/i);
});

test('the load balancer and the function may connect to the router, nobody else', () => {
  const of = template(pair(behind).stack);
  const rules = ingress(of, 'The router');
  assert.deepEqual(rules.map(([, port]) => port).sort(), [5001, 5004, 5005]);
  for (const [who, port] of rules) {
    assert.match(who, port === 5004 ? /^Instances of the function$/ : /Alb/, `${port} from ${who}`);
  }
});

test('a target group that is attached later has its probes let in as well', () => {
  const { stack, vpc, service } = pair();
  listener(stack, vpc).addTargetGroups('Mine', { targetGroups: [service.targetGroup] });
  assert.deepEqual(
    ingress(template(stack), 'The router')
      .map(([, port]) => port)
      .sort(),
    [5001, 5004, 5005],
  );
});

/** The target groups that ECS has tasks in, each with whether a listener forwards to it. */
function targets(of) {
  const forwards = ['Listener', 'ListenerRule']
    .map((it) => of.findResources(`AWS::ElasticLoadBalancingV2::${it}`))
    .flatMap((it) => Object.entries(it));
  const [service] = Object.values(of.findResources('AWS::ECS::Service'));
  return (service.Properties.LoadBalancers ?? []).map(({ ContainerName, TargetGroupArn }) => {
    const from = forwards.filter(([, it]) =>
      JSON.stringify(it.Properties).includes(`{"Ref":"${TargetGroupArn.Ref}"}`),
    );
    // ECS is to be asked when there is a listener, not before.
    return [ContainerName, from.some(([id]) => service.DependsOn?.includes(id))];
  });
}

test('the service has no target group that no listener forwards to, which ECS refuses', () => {
  const demoAppImage = image('demo');
  const router = [['LambdaDispatchRouter', true]];
  const both = [...router, ['DemoApp', true]];
  const said = (it) => targets(template(pair(it).stack));
  assert.deepEqual(said({}), []);
  assert.deepEqual(said({ createNetworkLoadBalancer: true }), router);
  assert.deepEqual(said({ createNetworkLoadBalancer: true, demoAppImage }), both);
  assert.deepEqual(said(behind), router);
  assert.deepEqual(said((...at) => ({ ...behind(...at), demoAppImage })), router);
  assert.deepEqual(
    said((...at) => ({ ...behind(...at), createNetworkLoadBalancer: true })),
    [...router, ...router],
  );
});

test('the service waits for whichever rule of a listener forwards to it', () => {
  const rule = {
    listenerPriority: 1,
    listenerConditions: [elbv2.ListenerCondition.pathPatterns(['/shop/*'])],
  };
  const here = (stack, vpc) => {
    const httpsListener = listener(stack, vpc);
    httpsListener.addAction('Else', { action: elbv2.ListenerAction.fixedResponse(404) });
    return { ...rule, httpsListener };
  };
  const elsewhere = (stack) => ({
    ...rule,
    httpsListener: elbv2.ApplicationListener.fromApplicationListenerAttributes(stack, 'Https', {
      listenerArn: 'arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/a/1/2',
      securityGroup: ec2.SecurityGroup.fromSecurityGroupId(stack, 'Group', 'sg-alb'),
    }),
  });
  for (const it of [here, elsewhere]) {
    assert.deepEqual(targets(template(pair(it).stack)), [['LambdaDispatchRouter', true]]);
  }
});

test('several routers share a listener, of another stack too, by conditions of their own', () => {
  const { stack, vpc, dockerImage } = stage();
  const httpsListener = listener(stack, vpc);
  httpsListener.addAction('Else', { action: elbv2.ListenerAction.fixedResponse(404) });
  const app = new LambdaConstruct(stack, 'App', { vpc, dockerImage });
  const share = (scope, name, priority) =>
    new EcsConstruct(scope, name, {
      vpc,
      lambdaFunction: app.target,
      httpsListener,
      listenerConditions: [elbv2.ListenerCondition.pathPatterns([`/${name}/*`])],
      listenerPriority: priority,
    });
  share(stack, 'Shop', 1);
  share(stack, 'Blog', 2);
  const other = new cdk.Stack(stack.node.root, 'Other');
  share(other, 'Wiki', 3);
  for (const [it, priorities] of [
    [stack, [1, 2]],
    [other, [3]],
  ]) {
    const of = template(it);
    const rules = Object.entries(of.findResources('AWS::ElasticLoadBalancingV2::ListenerRule'));
    assert.deepEqual(
      rules.map(([, rule]) => rule.Properties.Priority),
      priorities,
    );
    for (const [, service] of Object.entries(of.findResources('AWS::ECS::Service'))) {
      assert.ok(rules.some(([rule]) => service.DependsOn.includes(rule)));
    }
  }
});

test('conditions without a priority are refused, and the reverse', () => {
  const half = (more) => () =>
    pair((stack, vpc) => ({ httpsListener: listener(stack, vpc), ...more }));
  assert.throws(half({ listenerPriority: 1 }), /priority/);
  const listenerConditions = [elbv2.ListenerCondition.pathPatterns(['/shop/*'])];
  assert.throws(half({ listenerConditions }), /priority/);
});

test("a target group is the service's as soon as it is read, to be attached by hand", () => {
  const { stack, vpc, service } = pair({ demoAppImage: image('demo') });
  const https = listener(stack, vpc);
  https.addTargetGroups('Mine', { targetGroups: [service.targetGroup] });
  https.addTargetGroups('Demo', {
    targetGroups: [service.targetGroupDemoApp],
    priority: 1,
    conditions: [elbv2.ListenerCondition.pathPatterns(['/demo/*'])],
  });
  assert.equal(service.targetGroup, service.targetGroupRouter);
  assert.deepEqual(targets(template(stack)), [
    ['LambdaDispatchRouter', true],
    ['DemoApp', true],
  ]);
  assert.equal(pair().service.targetGroupDemoApp, undefined);
});

test('there is a grace period where there are health checks: ECS refuses it without', () => {
  const grace = (it) =>
    only(template(pair(it).stack), 'AWS::ECS::Service').HealthCheckGracePeriodSeconds;
  assert.equal(grace({}), undefined);
  assert.equal(grace(behind), 30);
  assert.equal(grace({ createNetworkLoadBalancer: true }), 30);
});

test('the router reaches the APIs of AWS alone', () => {
  const groups = Object.values(
    template(pair(behind).stack).findResources('AWS::EC2::SecurityGroup'),
  );
  const router = groups.find((it) => it.Properties.GroupDescription.startsWith('The router'));
  assert.deepEqual(
    router.Properties.SecurityGroupEgress.map((it) => [it.FromPort, it.ToPort]),
    [[443, 443]],
  );
});

/** What the router's role may do. */
function statements(of) {
  const policies = Object.values(of.findResources('AWS::IAM::Policy')).map((it) => it.Properties);
  return policies
    .filter((it) => /EcsTaskRole/.test(JSON.stringify(it.Roles)))
    .flatMap((it) => it.PolicyDocument.Statement);
}

test('the router may invoke its function, its versions and aliases, and do nothing else', () => {
  const all = statements(template(pair().stack));
  assert.equal(all.length, 1);
  assert.equal(all[0].Action, 'lambda:InvokeFunction');
  const [bare, qualified] = all[0].Resource;
  const [id, attribute] = bare['Fn::GetAtt'];
  assert.match(id, /LambdaFunction/);
  assert.equal(attribute, 'Arn');
  assert.deepEqual(qualified, { 'Fn::Join': ['', [bare, ':*']] });
});

test('of an alias the router may invoke this alias', () => {
  const of = template(pair({}, { snapStart: true }).stack);
  const [alias] = Object.keys(of.findResources('AWS::Lambda::Alias'));
  const [statement] = statements(of);
  assert.deepEqual(statement.Resource, { Ref: alias });
  assert.deepEqual(environment(of).LAMBDA_DISPATCH_POOL_FUNCTION, { Ref: alias });
});

test('an alias from elsewhere is the only one that the router may invoke', () => {
  const { stack } = pair((stack, vpc) => {
    const bare = lambda.Function.fromFunctionAttributes(stack, 'Imported', {
      functionArn: cdk.Fn.importValue('ShopFunction'),
      securityGroup: new ec2.SecurityGroup(stack, 'Instances', { vpc, description: 'Instances' }),
    });
    const aliasVersion = lambda.Version.fromVersionAttributes(stack, 'Version', {
      lambda: bare,
      version: '7',
    });
    return {
      lambdaFunction: lambda.Alias.fromAliasAttributes(stack, 'Alias', {
        aliasName: 'live',
        aliasVersion,
      }),
    };
  });
  const of = template(stack);
  const [statement] = statements(of);
  assert.deepEqual(statement.Resource, {
    'Fn::Join': ['', [{ 'Fn::ImportValue': 'ShopFunction' }, ':live']],
  });
  assert.deepEqual(ingress(of, 'The router'), [['Instances', 5004]]);
});

test('a function from elsewhere is served when its group is told', () => {
  const { stack, vpc } = stage();
  const arn = 'arn:aws:lambda:eu-west-1:123456789012:function:shop:live';
  const lambdaFunction = lambda.Function.fromFunctionArn(stack, 'Shop', arn);
  assert.throws(
    () => new EcsConstruct(stack, 'Wrong', { vpc, lambdaFunction }),
    /Wrong: lambdaFunction does not tell its security group.*set functionSecurityGroup/s,
  );

  const { stack: other, vpc: network } = stage();
  new EcsConstruct(other, 'Router', {
    vpc: network,
    lambdaFunction: lambda.Function.fromFunctionArn(other, 'Shop', arn),
    functionSecurityGroup: ec2.SecurityGroup.fromSecurityGroupId(other, 'Group', 'sg-shop'),
  });
  const of = template(other);
  assert.deepEqual(ingress(of, 'The router'), [['sg-shop', 5004]]);
  assert.equal(statements(of)[0].Resource, arn);
});

test('a deployment that does not get healthy is rolled back, and never leaves fewer tasks', () => {
  const { DeploymentConfiguration: it } = only(template(pair(behind).stack), 'AWS::ECS::Service');
  assert.deepEqual(it.DeploymentCircuitBreaker, { Enable: true, Rollback: true });
  assert.deepEqual([it.MinimumHealthyPercent, it.MaximumPercent], [100, 200]);
});

test('a task is stopped after its drain, not in it', () => {
  const of = template(pair(behind).stack);
  const stop = containers(of)[0].StopTimeout;
  const drain = Number.parseInt(environment(of).LAMBDA_DISPATCH_TIMEOUTS_DRAIN, 10);
  assert.deepEqual([stop, drain], [120, 110]);
  assert.throws(
    () => pair({ drain: cdk.Duration.seconds(116) }),
    /drain is 116 s, must be at most 115 s/,
  );
});

test('health is readiness, on the port that clients cannot reach', () => {
  const group = only(template(pair(behind).stack), 'AWS::ElasticLoadBalancingV2::TargetGroup');
  assert.deepEqual(
    [group.HealthCheckPath, group.HealthCheckPort, group.Port],
    ['/readyz', '5005', 5001],
  );
  assert.deepEqual(group.TargetGroupAttributes[0], {
    Key: 'deregistration_delay.timeout_seconds',
    Value: '60',
  });
});

test('spare capacity is had on both processors', () => {
  for (const cpuArchitecture of [ecs.CpuArchitecture.ARM64, ecs.CpuArchitecture.X86_64]) {
    const of = template(pair({ useFargateSpot: true, cpuArchitecture }).stack);
    const service = only(of, 'AWS::ECS::Service');
    assert.deepEqual(service.CapacityProviderStrategy, [
      { CapacityProvider: 'FARGATE_SPOT', Weight: 1 },
    ]);
    assert.equal(service.PlatformVersion, '1.4.0');
    const { _cpuArchitecture: name } = cpuArchitecture;
    assert.equal(only(of, 'AWS::ECS::TaskDefinition').RuntimePlatform.CpuArchitecture, name);
    assert.deepEqual(only(of, 'AWS::ECS::ClusterCapacityProviderAssociations').CapacityProviders, [
      'FARGATE',
      'FARGATE_SPOT',
    ]);
  }
});

test('a cluster needs capacity providers for spare capacity alone', () => {
  const service = (useFargateSpot) => {
    const of = pair((stack, vpc) => ({
      useFargateSpot,
      cluster: new ecs.Cluster(stack, 'Mine', { vpc }),
    }));
    return only(template(of.stack), 'AWS::ECS::Service');
  };
  const { LaunchType, CapacityProviderStrategy } = service(false);
  assert.deepEqual([LaunchType, CapacityProviderStrategy], ['FARGATE', undefined]);
  assert.deepEqual(service(true).CapacityProviderStrategy, [
    { CapacityProvider: 'FARGATE_SPOT', Weight: 1 },
  ]);
});

test('a container that does not live is replaced, as the router itself says', () => {
  const check = (it) => containers(template(pair(it).stack))[0].HealthCheck;
  assert.deepEqual(check(), {
    Command: ['CMD', '/lambda-dispatch', 'health', '--live'],
    Interval: 10,
    Timeout: 5,
    Retries: 3,
    StartPeriod: 30,
  });
  assert.deepEqual(check({ containerHealthCheck: { command: ['CMD', '/mine'] } }).Command, ['CMD', '/mine']);
});

test('the file system of a task is read-only, unless somebody is to work in it', () => {
  assert.equal(containers(template(pair().stack))[0].ReadonlyRootFilesystem, true);
  const of = template(pair({ enableExecuteCommand: true }).stack);
  assert.equal(containers(of)[0].ReadonlyRootFilesystem, false);
  assert.equal(only(of, 'AWS::ECS::Service').EnableExecuteCommand, true);
});

test('the router gives up before an application load balancer does', () => {
  const limits = (it) => {
    const of = environment(template(pair(it).stack));
    return [of.LAMBDA_DISPATCH_TIMEOUTS_QUEUE, of.LAMBDA_DISPATCH_TIMEOUTS_FIRST_BYTE];
  };
  assert.deepEqual(limits(behind), ['55s', '55s']);
  assert.deepEqual(limits({ createNetworkLoadBalancer: true }), [undefined, undefined]);
  const mine = { LAMBDA_DISPATCH_TIMEOUTS_QUEUE: '2m' };
  assert.deepEqual(limits((...at) => ({ ...behind(...at), environment: mine })), ['2m', '55s']);
});

test('what is set by hand wins', () => {
  const of = template(pair({ environment: { LAMBDA_DISPATCH_LOG_FORMAT: 'text' } }).stack);
  assert.equal(environment(of).LAMBDA_DISPATCH_LOG_FORMAT, 'text');
});

test("the originals' extensions attach while functions move over, from the function's group", () => {
  const of = template(pair({ originalExtensions: true }).stack);
  assert.equal(environment(of).LAMBDA_DISPATCH_LISTEN_WIRE_V1, 'private');
  const group = 'Instances of the function';
  assert.deepEqual(ingress(of, 'The router'), [
    [group, 5003],
    [group, 5004],
  ]);
});

test('a network load balancer is private, and lets in whom its group lets in', () => {
  const of = template(pair({ createNetworkLoadBalancer: true }).stack);
  assert.equal(only(of, 'AWS::ElasticLoadBalancingV2::LoadBalancer').Scheme, 'internal');
  const { Port: port, Protocol: protocol } = only(of, 'AWS::ElasticLoadBalancingV2::Listener');
  assert.deepEqual([port, protocol], [80, 'TCP']);
  assert.deepEqual(ingress(of, 'Clients of the network'), []);
  const balancer = ingress(of, 'The router').filter(([who]) =>
    who.startsWith('Clients of the network'),
  );
  assert.deepEqual(
    balancer.map(([, at]) => at),
    [5001, 5005],
  );
});

/** Whose `X-Forwarded-*` the router believes, and how many connections one address may have. */
function trust(of) {
  const it = environment(of);
  return [
    it.LAMBDA_DISPATCH_LISTEN_TRUSTED_PROXIES,
    it.LAMBDA_DISPATCH_LIMITS_CONNECTIONS_PER_CLIENT,
  ];
}

test('a network load balancer without a group that is known is refused', () => {
  const balancer = (stack, vpc, loadBalancerSecurityGroups) =>
    elbv2.NetworkLoadBalancer.fromNetworkLoadBalancerAttributes(stack, 'Nlb', {
      loadBalancerArn: 'arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/net/n/1',
      vpc,
      loadBalancerSecurityGroups,
    });
  const told = pair((stack, vpc) => ({ networkLoadBalancer: balancer(stack, vpc, ['sg-nlb']) }));
  assert.deepEqual(ingress(template(told.stack), 'The router'), [
    ['Instances of the function', 5004],
    ['sg-nlb', 5001],
    ['sg-nlb', 5005],
  ]);
  const refused = /Router: networkLoadBalancer has no security group.*loadBalancerSecurityGroups/s;
  assert.throws(
    () => pair((stack, vpc) => ({ networkLoadBalancer: balancer(stack, vpc) })),
    refused,
  );
  const bare = (stack, vpc) => ({
    networkLoadBalancer: new elbv2.NetworkLoadBalancer(stack, 'Nlb', { vpc }),
  });
  assert.throws(() => pair(bare), refused);
});

test('behind a network load balancer alone clients are not believed', () => {
  const alone = { createNetworkLoadBalancer: true };
  assert.deepEqual(trust(template(pair(alone).stack)), ['none', '10000']);
  const existing = (stack, vpc) => ({
    networkLoadBalancer: new elbv2.NetworkLoadBalancer(stack, 'Nlb', {
      vpc,
      securityGroups: [new ec2.SecurityGroup(stack, 'NlbGroup', { vpc })],
    }),
  });
  assert.deepEqual(trust(template(pair(existing).stack)), ['none', '10000']);
  const environment = { LAMBDA_DISPATCH_LISTEN_TRUSTED_PROXIES: '10.0.0.0/8' };
  assert.equal(trust(template(pair({ ...alone, environment }).stack))[0], '10.0.0.0/8');
});

test('an application load balancer is believed, attached by whomever', () => {
  const both = (...at) => ({ ...behind(...at), createNetworkLoadBalancer: true });
  assert.deepEqual(trust(template(pair(both).stack)), [undefined, undefined]);
  const { stack, vpc, service } = pair({ createNetworkLoadBalancer: true });
  listener(stack, vpc).addTargetGroups('Mine', { targetGroups: [service.targetGroup] });
  assert.equal(trust(template(stack))[0], 'private');
});

test('a network load balancer with a certificate ends TLS, for the demo app as well', () => {
  const of = template(
    pair((stack) => ({
      createNetworkLoadBalancer: true,
      demoAppImage: image('demo'),
      nlbCertificate: cdk.aws_certificatemanager.Certificate.fromCertificateArn(
        stack,
        'Certificate',
        'arn:aws:acm:eu-west-1:123456789012:certificate/c',
      ),
      nlbPorts: { demoAppPort: 9443 },
    })).stack,
  );
  const listeners = Object.values(of.findResources('AWS::ElasticLoadBalancingV2::Listener')).map(
    (it) => it.Properties,
  );
  assert.deepEqual(listeners.map((it) => [it.Port, it.Protocol, it.AlpnPolicy]).sort(), [
    [443, 'TLS', ['HTTP2Preferred']],
    [9443, 'TLS', undefined],
  ]);
});
