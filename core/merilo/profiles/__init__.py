"""Device profiles: from plain data to a ``merilo.profile.Profile``, and from a profile to the device at hand.

The language, all of it; every other key is refused, and nothing can express a write:

    format: 1, name (= file name), version, vendor, model, kind (meter, pdu, ups, sensor), notes: [text]
    sources: {key: document, page or public repository path}
    link: one of rtu {baud, format, unit}, tcp {port, unit}, mqtt {topic}
    rating: {phases, current_a, ct: direct | inside | outside}
    read: {max_words, start_multiple, count_multiple, holes: strict | listed | free, readable: [RANGE],
           forbidden: [RANGE], barriers: [{before, function}], response_ms, max_response_ms, min_gap_ms}
    addresses: wire          needed where an address looks like a printed number (30001…, 40001…)
    word_order: big | little | name of the setting that tells it
    defaults: {function, type, alone, source, confidence}; counters: {resolution_wh, modulus, resettable}
    invalid: {type: [raw values that mean "not available"]}
    identity: [{name, WORDS, accept: [values], contains: [texts], role: model | serial | firmware}]
    settings: [{name, WORDS, scale, meanings: {raw: factor | big | little}, holds, default, expect: [values], why}]
    parts: [{name, WORDS, VALUE}]                  read for others, no value of their own
    registers: [{quantity, WORDS, VALUE, counter: {resolution_wh, modulus, resettable}, four_quadrant}]
    derived: [{quantity, sum_of: [name, -name] | copy_of: name, range}]
    channels: [{suffix: outlet-{n}, count, first, counted_by: setting, current_a, phases, derived,
                registers: [as above, and stride]}]
    variants: [{name, told_by: identity or setting, values, remove: [quantity], registers, and any of model, rating,
                read, derived, channels, counters, invalid, notes, word_order}]
    mqtt: {model_path, model_contains, serial_path, values: [{quantity, path, scale, unit, range, counter}],
           channels: [{path, number, suffix, most, current_a, values}]}

    RANGE: first, last, function
    WORDS: function (holding, input), address (on the wire, from 0), type, order, bit; texts also words
    VALUE: unit (on the wire), scale, invalid, range, every, alone, fraction: {WORDS, unit, scale},
           times, divided_by, power_of_ten (names of settings or parts), source, confidence, note
"""
