/**
 * The router's ports, as it has them by default.
 *
 * @internal
 */
export class Port {
  /** Clients: HTTP/1.1 and HTTP/2 without TLS, behind the load balancer. */
  public static readonly CLIENTS = 5001;
  /** Instances, over TLS 1.3. */
  public static readonly CONTROL = 5004;
  /** Instances of the original's extension that insist on no TLS. */
  public static readonly CONTROL_PLAINTEXT = 5003;
  /** Health and metrics. */
  public static readonly ADMIN = 5005;
  /** The demo app, when there is one. */
  public static readonly DEMO_APP = 3001;
}
