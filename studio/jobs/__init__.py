"""Jobs: who does the work, in three kinds of process. They share the store; none needs another to stay alive.

    window      queues jobs in the store and looks at them there (`client`). It may be killed at any moment.
    supervisor  one a home folder (`supervisor`). It gives each queued job (`queue`) a process on a machine
                (`backends`), enforces Stop (`times`), records how each process left (`reasons`), samples
                memory (`memory`), and adopts what it finds alive after its own restart (`identity`).
    worker      one process a job (`work` runs it, `job` is what the job's function is given). It claims its
                job in the store and writes the final word about it there. A warm `standby`, which has
                imported torch already, becomes the next job's worker.

Only workers import torch. A process is known by its pid and its time of creation, never by its pid alone.
"""
