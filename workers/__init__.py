"""The worker application: wakes, claims a Job from the gateway, carries it out, reports. Never decides who may."""
