"""A fault of one's own: a server that ignores everybody's first SYN, loses every other SYN-ACK, and cuts answers short at a random byte.

A fault says what becomes of the SYN's answer, which SYN-ACKs are lost, and what to do with a connection once it is established.
"""

from fastnet.server.faults import Fault, FaultyConnection, policy
from fastnet.tcp.policy import DROP, Verdict
from fastnet.twins import Twins

ANSWER = b"a hundred bytes that nobody gets to see the end of".ljust(100, b".")


class Moody(Fault):
    """Greylists, loses SYN-ACKs and cuts answers short."""

    name = "moody"
    client = "connect() takes four seconds or more, and the answer ends anywhere."
    is_known = False

    def verdict(self, verdict: Verdict) -> Verdict:
        if self.is_known:
            return verdict
        self.is_known = True
        return DROP

    def loses(self, nth: int) -> bool:
        return nth % 2 == 1

    def established(self, connection: FaultyConnection, now: int) -> None:
        connection.end_after = connection.random.randrange(len(ANSWER))


def main() -> None:
    """Connect three clients, and print when they get through, and what they get."""
    moods = {port: Moody() for port in (40001, 40002, 40003)}
    twins = Twins(seed=1)
    listener = twins.b.listen("0.0.0.0", 80)
    listener.set_policy(policy(lambda flow: moods[flow.remote_port], seed=1))
    for port in moods:
        client = twins.a.connect("198.18.0.2", 80, local_port=port)
        taken = twins.run(lambda: bool(listener.accept_queue), 100)
        listener.accept().send(ANSWER)
        twins.run(lambda client=client: client.fin_received, 100)
        answer = client.receive(1000)
        print(f"connected after {taken:.1f} s, {len(answer)} bytes of {len(ANSWER)}: {answer[:20].decode()!r}...")


if __name__ == "__main__":
    main()
