"""Chicago taxi trips: will the tip exceed a fifth of the fare?"""
