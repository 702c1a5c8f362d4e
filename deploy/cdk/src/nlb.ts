import * as acm from 'aws-cdk-lib/aws-certificatemanager';
import * as cdk from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as ecs from 'aws-cdk-lib/aws-ecs';
import * as elbv2 from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import { Construct } from 'constructs';
import type { NlbPorts } from './ecs';
import { Port } from './ports';

/**
 * What listens where.
 *
 * @internal
 */
export interface NetworkListeners {
  readonly vpc: ec2.IVpc;
  readonly service: ecs.FargateService;
  readonly existing?: elbv2.INetworkLoadBalancer;
  readonly certificate?: acm.ICertificate;
  readonly ports?: NlbPorts;
  readonly demoApp: boolean;
}

/**
 * Has a network load balancer listen for the router, and for the demo app where there is one.
 *
 * @internal
 */
export function addNetworkListeners(
  scope: Construct,
  of: NetworkListeners,
): elbv2.INetworkLoadBalancer {
  const balancer =
    of.existing ??
    new elbv2.NetworkLoadBalancer(scope, 'NetworkLoadBalancer', {
      vpc: of.vpc,
      internetFacing: false,
      crossZoneEnabled: true,
      securityGroups: [
        new ec2.SecurityGroup(scope, 'NlbSecurityGroup', {
          vpc: of.vpc,
          allowAllOutbound: false,
          description: 'Clients of the network load balancer; allow them here',
        }),
      ],
    });
  if (!balancer.securityGroups?.length) {
    throw new Error(
      `${scope.node.path}: networkLoadBalancer has no security group, or does not tell it: the ` +
        'tasks would let in neither its clients nor its probes. One is given to it when it is ' +
        'made (securityGroups) or imported (loadBalancerSecurityGroups)',
    );
  }
  const tls = of.certificate !== undefined;
  const listen = (
    id: string,
    listenerPort: number,
    container: string,
    port: number,
    health: Probe,
  ) => {
    const listener = new elbv2.NetworkListener(scope, `${id}Listener`, {
      loadBalancer: balancer,
      port: listenerPort,
      protocol: tls ? elbv2.Protocol.TLS : elbv2.Protocol.TCP,
      certificates: of.certificate && [of.certificate],
      sslPolicy: tls ? elbv2.SslPolicy.RECOMMENDED_TLS : undefined,
      // The router takes either on the same port; gRPC needs HTTP/2.
      alpnPolicy: tls && container === ROUTER ? elbv2.AlpnPolicy.HTTP2_PREFERRED : undefined,
    });
    listener.addTargets(`${id}Targets`, {
      port,
      protocol: elbv2.Protocol.TCP,
      // Clients keep their addresses only with this on, but then the tasks must let them all in.
      preserveClientIp: false,
      deregistrationDelay: cdk.Duration.seconds(60),
      targets: [of.service.loadBalancerTarget({ containerName: container, containerPort: port })],
      healthCheck: {
        protocol: elbv2.Protocol.HTTP,
        path: health.path,
        port: String(health.port),
        interval: cdk.Duration.seconds(5),
        timeout: cdk.Duration.seconds(2),
        healthyThresholdCount: 2,
        unhealthyThresholdCount: 2,
      },
    });
    for (const to of new Set([port, health.port])) {
      of.service.connections.allowFrom(
        balancer,
        ec2.Port.tcp(to),
        'From the network load balancer',
      );
    }
  };
  listen('NlbRouter', of.ports?.routerPort ?? (tls ? 443 : 80), ROUTER, Port.CLIENTS, {
    path: '/readyz',
    port: Port.ADMIN,
  });
  if (of.demoApp) {
    listen('NlbDemoApp', of.ports?.demoAppPort ?? (tls ? 8443 : 8080), 'DemoApp', Port.DEMO_APP, {
      path: '/health',
      port: Port.DEMO_APP,
    });
  }
  return balancer;
}

interface Probe {
  readonly path: string;
  readonly port: number;
}

/** The router's container. */
const ROUTER = 'LambdaDispatchRouter';
