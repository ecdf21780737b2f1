"""Jobs on several hosts, measured in containers, and a model of more hosts: the parts of scale_hosts.py."""
