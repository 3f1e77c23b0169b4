"""The one source of chance in routing: the operating system's, so that workers that start together don't move together."""

from random import SystemRandom

chance = SystemRandom()
